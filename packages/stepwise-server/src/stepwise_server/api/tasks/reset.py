"""tasks.reset: back to a draft, without anything that a run left."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.files import remove_files
from stepwise_server.api.common.many import for_each
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.deletion import Deleted, drop_outputs, output_artifact_urls
from stepwise_server.api.tasks.transitions import change_status, check_transition, the_task
from stepwise_server.store import queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

UNSET = (
    "started",
    "completed",
    "published",
    "active_duration",
    "last_worker",
    "last_worker_report",
)
"""Fields that only a run has."""


@endpoint("tasks.reset", writes=True)
def reset(tx: Transaction, call: Call) -> dict[str, Any]:
    """Reset a task."""
    return _reset(tx, call, the_task(tx, call))


@endpoint("tasks.reset_many", writes=True)
def reset_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Reset tasks."""
    return for_each(tx, call, TASK, lambda task: _reset(tx, call, task))


def _reset(tx: Transaction, call: Call, task: Document) -> dict[str, Any]:
    force = call.flag("force")
    if not force:
        check_transition(task, "created")
    removed = queueing.take(tx, task["id"])
    deleted = Deleted(artifact_urls=output_artifact_urls(task))
    drop_outputs(tx, task, deleted, delete_models=call.flag("delete_output_models", default=True))
    changes = _as_draft(task, clear_all=call.flag("clear_all"))
    fields = change_status(tx, call, task, "created", force=force, changes=changes)
    remove_files(tx, call, deleted.all_urls)
    return {
        "updated": 1,
        "fields": fields,
        "dequeued": {"removed": 1 if removed else 0},
        "deleted_models": deleted.deleted_models,
        "urls": deleted.urls if call.flag("return_file_urls") else None,
    }


def _as_draft(task: Document, *, clear_all: bool) -> Document:
    """Return the changes that make a task a draft; inputs stay, unless all is cleared."""
    execution = {name: value for name, value in task["execution"].items() if name != "queue"}
    execution["artifacts"] = [each for each in execution["artifacts"] if each["mode"] == "input"]
    output = {name: value for name, value in task["output"].items() if name not in ("result", "error")}
    changes: Document = {
        **dict.fromkeys(UNSET),
        "last_iteration": 0,
        "runtime": {},
        "models": {**task["models"], "output": []},
        "output": output,
        "execution": execution,
    }
    if clear_all:
        changes |= {"execution": TASK.defaults["execution"], "script": TASK.defaults["script"]}
    return changes
