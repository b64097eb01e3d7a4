"""tasks.enqueue and tasks.dequeue: what waiting in a queue means for a task."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import valid_name
from stepwise_server.api.common.many import for_each
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import check_models
from stepwise_server.api.tasks.transitions import change_status, check_transition, the_task
from stepwise_server.errors import invalid
from stepwise_server.store import entities, queueing, workers
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document


@endpoint("tasks.enqueue", writes=True)
def enqueue(tx: Transaction, call: Call) -> dict[str, Any]:
    """Put a task into a queue."""
    task = the_task(tx, call)
    queue = target_queue(tx, call)
    fields = enqueue_task(tx, call, task, queue, force=call.flag("force"))
    return {"queued": 1, "updated": 1, "fields": fields, **watched(tx, call, queue)}


@endpoint("tasks.enqueue_many", writes=True)
def enqueue_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Put tasks into a queue, in the order of their ids in the call."""
    queue = target_queue(tx, call)

    def work(task: Document) -> dict[str, Any]:
        if call.flag("validate_tasks"):
            check_models(tx, task["models"]["input"])
        fields = enqueue_task(tx, call, task, queue, force=call.flag("force"))
        return {"queued": True, "updated": 1, "fields": fields}

    return {**for_each(tx, call, TASK, work), **watched(tx, call, queue)}


def target_queue(tx: Transaction, call: Call) -> str:
    """Return the queue that a call means: by `queue`, by `queue_name` (made if it is new), or the default one.

    Raises:
        ApiError: 400/12 if both are given, 400/701 for an unknown id, 400/707 if there is no default queue.
    """
    queue, name = call.text("queue"), call.text("queue_name")
    if queue and name:
        raise invalid("queue and queue_name exclude each other")
    if queue:
        if not entities.exists(tx, entities.QUEUE, queue):
            raise entities.QUEUE.unknown(queue)
        return queue
    if not name:
        return queueing.default_queue(tx)
    name = valid_name(name, "queue")
    known: str | None = tx.value("SELECT id FROM queues WHERE name = ?", [name])
    stamps = {"created": tx.now, "last_update": tx.now}
    return known or entities.insert(tx, entities.QUEUE, {"name": name, "user": call.user, **stamps})


def enqueue_task(tx: Transaction, call: Call, task: Document, queue: str, *, force: bool = False) -> Document:
    """Put a task at a queue's end, and return its changed fields.

    Raises:
        ApiError: 400/110 if it may not be queued, 400/706 if it waits there already.
    """
    if not force:
        check_transition(task, "queued")
    previous = task["status"] if task["status"] != "queued" else None
    queueing.append(tx, task["id"], queue, previous)
    if not call.flag("update_execution_queue", default=True):
        return change_status(tx, call, task, "queued", force=True)
    changes = {"execution": {**task["execution"], "queue": queue}}
    return _with_queue(change_status(tx, call, task, "queued", force=True, changes=changes), queue)


def _with_queue(fields: Document, queue: str | None) -> Document:
    """Return changed fields as answers show them: of the execution, only the queue changed."""
    shown = {name: value for name, value in fields.items() if name != "execution"}
    return {**shown, "execution.queue": queue}


def watched(tx: Transaction, call: Call, queue: str) -> dict[str, bool]:
    """Return `queue_watched` if the call asks for it: whether a worker that is alive serves the queue."""
    if not call.flag("verify_watched_queue"):
        return {}
    return {"queue_watched": workers.watched(tx, queue)}


@endpoint("tasks.dequeue", writes=True)
def dequeue(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take a task out of its queue. No error if it does not wait: an agent asks for tasks that it runs."""
    found = entities.load_many(tx, TASK, [call.required("task")])
    if not found:
        return {"dequeued": 0, "updated": 0}
    return dequeue_task(tx, call, found[0], call.text("new_status") or None)


@endpoint("tasks.dequeue_many", writes=True)
def dequeue_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take tasks out of their queues."""

    def work(task: Document) -> dict[str, Any]:
        answer = dequeue_task(tx, call, task)
        return {**answer, "dequeued": bool(answer["dequeued"])}

    return for_each(tx, call, TASK, work)


def dequeue_task(
    tx: Transaction, call: Call, task: Document, new_status: str | None = None
) -> dict[str, Any]:
    """Take a task out of its queue, and return the answer.

    Args:
        tx: a writing transaction.
        call: on whose behalf.
        task: the task; one that neither waits nor runs keeps its status.
        new_status: what it becomes; what it was before by default.

    Raises:
        ApiError: 400/110 if `new_status` cannot follow.
    """
    entry = queueing.take(tx, task["id"])
    if task["status"] not in ("queued", "in_progress"):
        return {"dequeued": 1 if entry else 0, "updated": 0}
    if new_status:
        check_transition(task, new_status)
    elif task["status"] == "in_progress":
        new_status = "in_progress"
    else:
        new_status = (entry and entry.previous_status) or "created"
    execution = {name: value for name, value in task["execution"].items() if name != "queue"}
    fields = change_status(tx, call, task, new_status, force=True, changes={"execution": execution})
    return {"dequeued": 1, "updated": 1, "fields": _with_queue(fields, None)}


def leave_queue(tx: Transaction, call: Call, task: Document) -> None:
    """Take a task that waits out of its queue, as before it is archived."""
    if task["status"] == "queued" and queueing.entry_of(tx, task["id"]):
        dequeue_task(tx, call, task)
