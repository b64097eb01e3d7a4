"""The status machine of tasks."""

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import seconds_between, stamps
from stepwise_server.errors import ApiError, invalid
from stepwise_server.store import entities, projects, queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document

ALLOWED: dict[str, frozenset[str]] = {
    status: frozenset(following.split())
    for status, following in {
        "created": "queued in_progress",
        "queued": "created in_progress stopped",
        "in_progress": "created stopped failed completed",
        "stopped": "created queued in_progress closed completed failed publishing published",
        "closed": "created stopped failed publishing published",
        "failed": "created queued stopped published",
        "completed": "created in_progress published",
        "publishing": "published",
        "published": "",
        "unknown": "",
    }.items()
}
"""What may follow a status without force; the status itself may always."""

STOPPING = "stopping"
"""The word in `status_message` at which a worker ends the task's process."""


def the_task(tx: Transaction, call: Call) -> Document:
    """Return the task that the call names.

    Raises:
        ApiError: 400/11 if it names none, 400/101 if there is no such task.
    """
    return entities.load(tx, entities.TASK, call.required("task"))


def require_status(task: Document, *statuses: str) -> None:
    """Check that a task is in one of these states.

    Raises:
        ApiError: 400/110 if it is not.
    """
    if task["status"] not in statuses:
        raise ApiError(400, 110, "Invalid task status", current_status=task["status"], expected=statuses)


def check_transition(task: Document, status: str) -> None:
    """Check that a task may go to a status without force.

    Raises:
        ApiError: 400/110 if it may not; 400/12 if there is no such status.
    """
    if status not in ALLOWED:
        raise invalid("status is no status of tasks", status=status)
    current = task["status"]
    if status != current and status not in ALLOWED.get(current, frozenset()):
        raise ApiError(400, 110, "Invalid task status", current_status=current, new_status=status)


def change_status(
    tx: Transaction,
    call: Call,
    task: Document,
    status: str,
    *,
    force: bool = False,
    message: str | None = None,
    reason: str | None = None,
    changes: Document | None = None,
) -> Document:
    """Bring a task to a status, and return the fields that changed.

    Args:
        tx: a writing transaction.
        call: gives user, `status_message` and `status_reason`.
        task: the task as stored; gets the changed fields too.
        status: where it goes.
        force: also where the machine does not lead.
        message: in place of the call's.
        reason: in place of the call's.
        changes: further fields to write.

    Raises:
        ApiError: 400/110 if the machine does not lead there.
    """
    if not force:
        check_transition(task, status)
    elif status not in ALLOWED:
        raise invalid("status is no status of tasks", status=status)
    fields: Document = {
        "status": status,
        "status_reason": call.text("status_reason") if reason is None else reason,
        "status_message": call.text("status_message") if message is None else message,
        "status_changed": tx.now,
        **stamps(tx, call, task),
    }
    if status == task["status"] == "in_progress" and task["status_message"] == STOPPING:
        fields["status_message"] = STOPPING  # a worker that says again that it started has not seen it yet
    if status == "queued" and "development" in task["system_tags"]:
        fields["system_tags"] = [tag for tag in task["system_tags"] if tag != "development"]
    if task["status"] == "in_progress" and status != "in_progress" and task.get("started"):
        fields["active_duration"] = seconds_between(task["started"], tx.now)
    fields.update(changes or {})
    if status != "queued":
        queueing.take(tx, task["id"])  # only what is queued waits in a queue
    entities.save(tx, entities.TASK, task["id"], fields)
    projects.touch(tx, task.get("project"))
    task.update(fields)
    return fields
