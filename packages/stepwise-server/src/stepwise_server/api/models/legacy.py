"""Calls that clients older than API 2.14 make: they know one output model per task."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import valid_name
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.models.edit import insert_model
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.transitions import the_task
from stepwise_server.errors import ApiError, missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, TASK, Document
from stepwise_server.store.query import documents

MOVED = (2, 14)
"""The first version of the API without these calls."""


@endpoint("models.get_by_task_id", version=MOVED)
@endpoint("models.update_for_task", writes=True, version=MOVED)
def moved(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Tell newer clients to use what has come in their place."""
    raise ApiError(301, 1, "Moved permanently", endpoint=call.endpoint)


@endpoint("models.get_by_task_id")
def get_by_task_id(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the last output model of a task."""
    model = _last_output(tx, the_task(tx, call))
    if model is None:
        raise MODEL.unknown(call.text("task"))
    return {"model": documents.one(tx, MODEL, model["id"])}


@endpoint("models.update_for_task", writes=True)
def update_for_task(tx: Transaction, call: Call) -> dict[str, Any]:
    """Give a task an output model: a new one, the one it has, or `override_model_id`."""
    task = the_task(tx, call)
    if call.text("override_model_id"):
        model = entities.load(tx, MODEL, call.text("override_model_id"))
        _set_output(tx, call, task, model["id"])
        return {"id": model["id"], "created": False, "updated": 1, "fields": {}}
    if not call.text("uri"):
        raise missing("uri")
    changes: Document = {"uri": call.text("uri"), "task": task["id"], "project": task.get("project")}
    changes["name"] = valid_name(call.text("name") or task["name"], "model")
    changes["comment"] = call.text("comment") or f"Created by task {task['id']}"
    if call.given("tags"):
        changes["tags"] = call.texts("tags")
    known = _last_output(tx, task)
    if known is None:
        created = insert_model(tx, call, {**changes, "ready": task["status"] == "published"})
        _set_output(tx, call, task, created)
        return {"id": created, "created": True, "updated": 1, "fields": {}}
    fields = {**changes, **stamps(tx, call, known)}
    entities.save(tx, MODEL, known["id"], fields)
    return {"id": known["id"], "created": False, "updated": 1, "fields": fields}


def _last_output(tx: Transaction, task: Document) -> Document | None:
    ids = [entry["model"] for entry in task["models"]["output"][-1:]]
    return next(iter(entities.load_many(tx, MODEL, ids)), None)


def _set_output(tx: Transaction, call: Call, task: Document, model: str) -> None:
    entry = {"name": "output", "model": model, "updated": tx.now}
    changes = {"models": {**task["models"], "output": [entry]}}
    entities.save(tx, TASK, task["id"], {**changes, **stamps(tx, call, task)})
