"""The organization service: tags, counts and statistics over everything; the company."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.projects.tags import tags_of
from stepwise_server.api.registry import endpoint
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import COMPANY, MODEL, PROJECT, TASK, Document, Entity
from stepwise_server.store.query.clauses import Clause, among, both
from stepwise_server.store.query.documents import COMPANY_NAME
from stepwise_server.store.query.filters import where
from stepwise_server.store.query.selection import count

COUNTED: dict[str, tuple[Entity, Document]] = {
    "projects": (PROJECT, {}),
    "tasks": (TASK, {}),
    "models": (MODEL, {}),
    "pipelines": (PROJECT, {"system_tags": ["pipeline"], "search_hidden": True}),
    "pipeline_runs": (TASK, {"type": ["controller"], "system_tags": ["pipeline"], "search_hidden": True}),
    "datasets": (PROJECT, {"system_tags": ["dataset"], "search_hidden": True}),
    "dataset_versions": (
        TASK,
        {"type": ["data_processing"], "system_tags": ["dataset"], "search_hidden": True},
    ),
    "reports": (TASK, {"type": ["report"], "search_hidden": True}),
}
"""What can be counted, and how it is queried where the call does not say."""


@endpoint("organization.get_tags")
def get_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the tags of all tasks and models."""
    return tags_of(tx, call, [TASK, MODEL])


@endpoint("organization.get_user_companies")
def get_user_companies(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the one company."""
    rows = tx.execute("SELECT id, name, avatar FROM users WHERE role = 'admin' ORDER BY name, id")
    owners = [
        {"id": user, "name": name, **({"avatar": avatar} if avatar else {})} for user, name, avatar in rows
    ]
    return {"companies": [{"id": COMPANY, "name": COMPANY_NAME, "allocated": 1, "owners": owners}]}


@endpoint("organization.get_entities_count")
def get_entities_count(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return how many entities of each kind fit a query of their own.

    With `limit` no count exceeds that; `active_users` counts only what these users own.
    """
    users, limit = call.texts("active_users"), call.integer("limit")
    counts: dict[str, int] = {}
    for name, (entity, usual) in COUNTED.items():
        if not call.given(name):
            continue
        params = {**usual, **call.mapping(name)}
        if call.flag("search_hidden"):
            params["search_hidden"] = True
        condition = where(tx, entity, params)
        if users:
            right = among(users)
            condition = both([condition, Clause(f"{entity.table}.user {right.text}", right.values)])
        counts[name] = count(tx, entity, condition)
        if limit is not None and limit > 0:
            counts[name] = min(counts[name], limit)
    return counts


@endpoint("organization.get_project_usages")
def get_project_usages(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return how many tasks and models each project holds, and how long its tasks ran."""
    rows = tx.execute(
        "SELECT id, name, (SELECT count(*) FROM tasks WHERE project = projects.id),"
        " (SELECT coalesce(sum(active_duration), 0) FROM tasks WHERE project = projects.id),"
        " (SELECT count(*) FROM models WHERE project = projects.id) FROM projects ORDER BY name"
    )
    names = ("id", "name", "tasks", "total_runtime", "models")
    return {"projects": [dict(zip(names, row, strict=True)) for row in rows]}
