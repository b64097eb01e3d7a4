"""projects.get_all and get_all_ex: what is particular to projects."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepwise_server.api import queries
from stepwise_server.api.call import Call
from stepwise_server.api.projects import stats
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import PROJECT, TASK, Document
from stepwise_server.store.query.clauses import TRUE, Clause, among, both
from stepwise_server.store.query.filters import where

CHILDREN = ("dataset", "pipeline", "report")
"""Datasets and pipelines are projects with that system tag, reports are tasks of that type."""


@dataclass(frozen=True, slots=True)
class Child:
    """A dataset, pipeline or report.

    Attributes:
        ancestors: ids of the projects that it lies in, the topmost first; the last one is its hidden folder.
        tags: its tags.
    """

    ancestors: list[str]
    tags: list[str]


@endpoint("projects.get_all")
def get_all(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return projects, with references as ids."""
    return _find(tx, call, expanded=False)


@endpoint("projects.get_all_ex")
def get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return projects, with references as objects."""
    return _find(tx, call, expanded=True)


def _find(tx: Transaction, call: Call, *, expanded: bool) -> dict[str, Any]:
    kind = _children_type(call)
    within = _children(tx, call, kind) if kind else []
    condition = both([_owned_by(tx, call), _holds(within) if kind else TRUE])
    answer = queries.find(tx, call, PROJECT, expanded=expanded, also=condition)
    found: list[Document] = answer["projects"]
    ids = [project["id"] for project in found]
    for extra in _extras(tx, call, ids, within, kind):
        for project in found:
            for name, value in extra.get(project["id"], {}).items():
                if isinstance(value, dict):
                    value = {**project.get(name, {}), **value}
                project[name] = value
    return answer


def _children_type(call: Call) -> str:
    """Return which kind of children is asked for, "" for none."""
    kind = call.text("children_type")
    if kind and kind not in CHILDREN:
        raise invalid(f"children_type is one of {', '.join(CHILDREN)}", value=kind)
    return kind


def _extras(
    tx: Transaction, call: Call, ids: Sequence[str], within: list[Child], kind: str
) -> list[dict[str, Document]]:
    """Return what is added to the documents, by project: one dictionary for each thing that was asked for."""
    extras: list[dict[str, Document]] = []
    tasks = where(
        tx, TASK, {"search_hidden": call.flag("search_hidden"), **call.mapping("include_stats_filter")}
    )
    if call.flag("include_stats"):
        families = stats.families(tx, ids)
        if not call.flag("stats_with_children", default=True):
            families = {each: [each] for each in ids}
        state = call.text("stats_for_state")
        counted = stats.task_stats(tx, families, tasks)
        below = stats.children(tx, ids, hidden=call.flag("search_hidden"))
        for each in ids:
            shown = {name: value for name, value in counted[each].items() if state in ("", name)}
            extras.append({each: {"stats": shown, "sub_projects": below[each]}})
    if kind:
        extras.append(_children_stats(ids, within, kind))
    if kind and call.flag("check_own_contents"):
        own_children = Counter(child.ancestors[-2] for child in within if len(child.ancestors) > 1)
        extras.append({each: {f"own_{kind}s": own_children[each]} for each in ids})
    if call.flag("check_own_contents"):
        own = stats.own_contents(tx, ids, tasks)
        extras.append({each: {"own_tasks": own[each][0], "own_models": own[each][1]} for each in ids})
    if call.flag("include_dataset_stats"):
        found = stats.dataset_stats(tx, ids)
        nothing = {"file_count": 0, "total_size": 0}
        extras.append({each: {"dataset_stats": found.get(each, nothing)} for each in ids})
    if call.flag("search_hidden"):
        hidden = tx.column(
            "SELECT id FROM projects WHERE id IN (SELECT value FROM json_each(?))"
            " AND EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'hidden')",
            [json.dumps(list(ids))],
        )
        extras.append({each: {"hidden": True} for each in hidden})
    return extras


def _owned_by(tx: Transaction, call: Call) -> Clause:
    """Return the condition that active users own something in a project or below it."""
    users = call.texts("active_users")
    if not users:
        return TRUE
    given = json.dumps(users)
    direct = tx.column(
        "SELECT project FROM tasks WHERE project IS NOT NULL AND user IN (SELECT value FROM json_each(?))"
        " UNION SELECT project FROM models WHERE project IS NOT NULL"
        " AND user IN (SELECT value FROM json_each(?))",
        [given, given],
    )
    right = among(_with_ancestors(tx, direct))
    return Clause(f"projects.id {right.text}", right.values)


def _with_ancestors(tx: Transaction, ids: Sequence[str]) -> list[str]:
    """Return these projects and all above them."""
    given = json.dumps(list(ids))
    return tx.column(
        "SELECT above.value FROM projects, json_each(projects.path) AS above"
        " WHERE projects.id IN (SELECT value FROM json_each(?)) UNION SELECT value FROM json_each(?)",
        [given, given],
    )


def _children(tx: Transaction, call: Call, kind: str) -> list[Child]:
    """Return the datasets, pipelines or reports that are asked for, by their tags if the call names some."""
    params: Document = {"search_hidden": True}
    if call.given("children_tags"):
        params["tags"] = call.params["children_tags"]
    if call.given("children_tags_filter"):
        params["filters"] = {"tags": call.params["children_tags_filter"]}
    if kind == "report":
        condition = where(tx, TASK, {**params, "type": ["report"], "system_tags": ["-archived"]})
        statement = (
            "SELECT folder.path, folder.id, tasks.tags FROM tasks"
            f" JOIN projects AS folder ON folder.id = tasks.project WHERE {condition.text}"
        )
    else:
        condition = where(tx, PROJECT, {**params, "system_tags": [kind]})
        statement = f"SELECT path, NULL, tags FROM projects WHERE {condition.text}"
    rows = tx.execute(statement, condition.values)
    return [
        Child([*json.loads(path), *([folder] if folder else [])], json.loads(tags))
        for path, folder, tags in rows
    ]


def _holds(within: list[Child]) -> Clause:
    """Return the condition that a project has one of these below it."""
    right = among(sorted({ancestor for child in within for ancestor in child.ancestors}))
    return Clause(f"projects.id {right.text}", right.values)


def _children_stats(ids: Sequence[str], within: list[Child], kind: str) -> dict[str, Document]:
    """Return how many datasets, pipelines or reports lie below each project, and their tags."""
    counted = {}
    for project in ids:
        children = [child for child in within if project in child.ancestors]
        tags = sorted({tag for child in children for tag in child.tags})
        counted[project] = {"stats": {f"{kind}s": {"count": len(children), "tags": tags}}}
    return counted
