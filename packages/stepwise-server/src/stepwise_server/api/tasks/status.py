"""Calls by which a task's process tells how it goes: started, stopped, completed, failed; and tasks.stop for others."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.publishing import publish_task
from stepwise_server.api.tasks.steps import pipeline_steps
from stepwise_server.api.tasks.transitions import STOPPING, change_status, check_transition, the_task
from stepwise_server.store import entities, queueing, workers
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document


@endpoint("tasks.started", writes=True)
def started(tx: Transaction, call: Call) -> dict[str, Any]:
    """A process works on the task. Comes several times per run: the first one sets the clock."""
    task = the_task(tx, call)
    runs_already = task["status"] == "in_progress" and task.get("started")
    changes = {} if runs_already else {"started": tx.now, "completed": None, "active_duration": None}
    fields = change_status(tx, call, task, "in_progress", force=call.flag("force"), changes=changes)
    return {"updated": 1, "fields": fields, "started": 1}


@endpoint("tasks.stopped", writes=True)
def stopped(tx: Transaction, call: Call) -> dict[str, Any]:
    """The process was stopped."""
    return _ended(tx, call, the_task(tx, call), "stopped")


@endpoint("tasks.failed", writes=True)
def failed(tx: Transaction, call: Call) -> dict[str, Any]:
    """The process failed."""
    return _ended(tx, call, the_task(tx, call), "failed")


@endpoint("tasks.close", writes=True)
def close(tx: Transaction, call: Call) -> dict[str, Any]:
    """The task needs no more attention."""
    return _ended(tx, call, the_task(tx, call), "closed")


@endpoint("tasks.completed", writes=True)
def completed(tx: Transaction, call: Call) -> dict[str, Any]:
    """The process is done; the task may be published in the same call."""
    task = the_task(tx, call)
    answer = _ended(tx, call, task, "completed")
    if not call.flag("publish"):
        return {**answer, "published": 0}
    fields = publish_task(tx, call, task)
    return {"updated": 1, "fields": {**answer["fields"], **fields}, "published": 1}


def _ended(tx: Transaction, call: Call, task: Document, status: str) -> dict[str, Any]:
    again = task["status"] == status and task.get("completed")
    changes = {} if again else {"completed": tx.now}
    fields = change_status(tx, call, task, status, force=call.flag("force"), changes=changes)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.stop", writes=True)
def stop(tx: Transaction, call: Call) -> dict[str, Any]:
    """Stop a task, at once or by asking the worker that runs it."""
    return stop_task(tx, call, the_task(tx, call))


def stop_task(tx: Transaction, call: Call, task: Document) -> dict[str, Any]:
    """Stop a task, and the steps of a pipeline with it if `include_pipeline_steps` is set.

    A worker that runs the task sees the word in its status message, ends the process and says so. Stopping it
    here at once would cut off the end of its log.
    """
    if call.flag("include_pipeline_steps"):
        for step in pipeline_steps(tx, task):
            if step["status"] in ("queued", "in_progress"):
                _stop_one(tx, call, step)
    return _stop_one(tx, call, task)


def _stop_one(tx: Transaction, call: Call, task: Document) -> dict[str, Any]:
    force = call.flag("force")
    if task["status"] == "in_progress" and _is_run_by_worker(tx, task):
        fields: Document = {"status_message": STOPPING, **stamps(tx, call, task)}
        if call.given("status_reason"):
            fields["status_reason"] = call.text("status_reason")
        entities.save(tx, TASK, task["id"], fields)
        return {"updated": 1, "fields": {"status": task["status"], **fields}}
    if not force:
        check_transition(task, "stopped")
    message = call.text("status_message") or f"Stopped by {call.caller.name}"
    changes: Document = {"completed": tx.now}
    if queueing.take(tx, task["id"]):
        execution = {name: value for name, value in task["execution"].items() if name != "queue"}
        changes["execution"] = execution
    fields = change_status(tx, call, task, "stopped", force=force, message=message, changes=changes)
    return {"updated": 1, "fields": fields}


def _is_run_by_worker(tx: Transaction, task: Document) -> bool:
    """Tell whether a worker that is alive runs the task. A process that runs by itself never says so."""
    if "development" in task["system_tags"]:
        return False
    return any(worker.task == task["id"] for worker in workers.present(tx))
