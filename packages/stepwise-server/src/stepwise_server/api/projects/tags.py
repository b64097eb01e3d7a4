"""The tags in use: projects.get_project_tags, get_task_tags, get_model_tags, organization.get_tags."""

from collections.abc import Sequence
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.store import projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, PROJECT, TASK, Entity
from stepwise_server.store.query.clauses import Clause, among, both
from stepwise_server.store.query.filters import where


def tags_of(tx: Transaction, call: Call, kinds: Sequence[Entity]) -> dict[str, Any]:
    """Return the tags of entities, in projects if the call names some, those below included.

    Args:
        tx: reads.
        call: `projects`, `filter` with `tags` and `system_tags`, `include_system`.
        kinds: whose tags.
    """
    ids = call.texts("projects")
    within = [*ids, *projects.subtree(tx, ids)] if ids else []
    names = ("tags", "system_tags") if call.flag("include_system") else ("tags",)
    collected: dict[str, set[str]] = {name: set() for name in names}
    wanted = {
        name: value for name, value in call.mapping("filter").items() if name in ("tags", "system_tags")
    }
    for entity in kinds:
        condition = where(tx, entity, {**wanted, "search_hidden": True})
        if ids:
            right = among(within)
            column = "id" if entity is PROJECT else "project"
            condition = both([condition, Clause(f"{entity.table}.{column} {right.text}", right.values)])
        for name in names:
            collected[name].update(
                tx.column(
                    f"SELECT DISTINCT tag.value FROM {entity.table}, json_each({entity.table}.{name}) AS tag"
                    f" WHERE {condition.text}",
                    condition.values,
                )
            )
    return {name: sorted(tags) for name, tags in collected.items()}


@endpoint("projects.get_project_tags")
def get_project_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the tags of projects."""
    return tags_of(tx, call, [PROJECT])


@endpoint("projects.get_task_tags")
def get_task_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the tags of tasks in projects."""
    return tags_of(tx, call, [TASK])


@endpoint("projects.get_model_tags")
def get_model_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the tags of models in projects."""
    return tags_of(tx, call, [MODEL])
