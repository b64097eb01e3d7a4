"""projects.validate_delete and delete; make_public, make_private."""

import json
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.files import remove_files
from stepwise_server.api.models.deletion import delete_model
from stepwise_server.api.projects.tree import the_project
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.deletion import Deleted, delete_task
from stepwise_server.errors import ApiError
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, TASK

_REFUSALS = (
    ("non_archived_tasks", 402, "Project has associated non-archived tasks"),
    ("non_archived_reports", 402, "Project has associated non-archived reports"),
    ("non_archived_models", 405, "Project has associated non-archived models"),
    ("datasets", 406, "Project has associated non-archived datasets"),
    ("pipelines", 413, "Project has associated non-archived pipelines"),
)


@endpoint("projects.validate_delete")
def validate_delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Count what is in a project and below it."""
    return _contents(tx, projects.subtree(tx, [the_project(tx, call)["id"]]))


def _contents(tx: Transaction, ids: list[str]) -> dict[str, int]:
    """Count what is in these projects; datasets and pipelines are those that are not archived."""

    def has(tag: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = '{tag}')"

    active, dataset, pipeline = f"NOT {has('archived')}", has("dataset"), has("pipeline")
    plain = f"type != 'report' AND NOT {dataset} AND NOT {pipeline}"
    tasks = {
        "tasks": plain,
        "non_archived_tasks": f"{plain} AND {active}",
        "reports": "type = 'report'",
        "non_archived_reports": f"type = 'report' AND {active}",
        "datasets": f"type != 'report' AND {dataset} AND {active}",
        "pipelines": f"type != 'report' AND NOT {dataset} AND {pipeline} AND {active}",
    }
    counted: dict[str, int] = {}
    for table, conditions in (
        ("tasks", tasks),
        ("models", {"models": "1", "non_archived_models": active}),
    ):
        sums = ", ".join(f"coalesce(sum({condition}), 0)" for condition in conditions.values())
        row = tx.one(
            f"SELECT {sums} FROM {table} WHERE project IN (SELECT value FROM json_each(?))", [json.dumps(ids)]
        )
        counted.update(zip(conditions, row or (), strict=True))
    return counted


@endpoint("projects.delete", writes=True)
def delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete a project and those below it; what they hold goes too, or stays without a project."""
    project = the_project(tx, call)
    ids = projects.subtree(tx, [project["id"]])
    if not call.flag("force"):
        contents = _contents(tx, ids)
        for name, subcode, message in _REFUSALS:
            if contents[name]:
                raise ApiError(400, subcode, message, id=project["id"], count=contents[name])
    answer = {"deleted": 1, "disassociated_tasks": 0, "deleted_models": 0, "deleted_tasks": 0}
    gone = Deleted()
    if call.flag("delete_contents"):
        gone, deleted_tasks = _delete_contents(tx, call, ids)
        answer |= {"deleted_tasks": deleted_tasks, "deleted_models": gone.deleted_models}
        remove_files(tx, call, [url for urls in gone.urls.values() for url in urls])
    else:
        for table in ("models", "tasks"):
            answer["disassociated_tasks"] = tx.execute(
                f"UPDATE {table} SET project = NULL, last_change = ?, last_changed_by = ?"
                " WHERE project IN (SELECT value FROM json_each(?))",
                [tx.now, call.user, json.dumps(ids)],
            ).rowcount
    tx.execute("DELETE FROM projects WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(ids)])
    projects.touch(tx, project.get("parent"))
    return {**answer, "urls": gone.urls}


def _delete_contents(tx: Transaction, call: Call, ids: list[str]) -> tuple[Deleted, int]:
    """Delete all tasks and models of these projects; return what went with them, and how many tasks."""
    gone, within = Deleted(), "project IN (SELECT value FROM json_each(?))"
    tasks = tx.column(f"SELECT id FROM tasks WHERE {within}", [json.dumps(ids)])
    for task in tasks:
        gone += delete_task(tx, call, entities.load(tx, TASK, task))
    for model in tx.column(f"SELECT id FROM models WHERE {within}", [json.dumps(ids)]):
        gone.model_urls += delete_model(tx, entities.load(tx, MODEL, model))
        gone.deleted_models += 1
    return gone, len(tasks)


@endpoint("projects.make_public", writes=True)
def make_public(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Change nothing: there is one company, and nobody outside of it."""
    call.ids()
    return {"updated": 0}


@endpoint("projects.make_private", writes=True)
def make_private(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Refuse: nothing is public here."""
    raise ApiError(400, 24, "Object is not public", ids=call.ids())
