"""queues.get_next_task and the other calls about the tasks that wait in a queue."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.queues import release, the_queue
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.queueing import enqueue_task
from stepwise_server.errors import ApiError, invalid
from stepwise_server.store import entities, queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import COMPANY, TASK

Data = dict[str, Any]


@endpoint("queues.get_next_task", writes=True)
def get_next_task(tx: Transaction, call: Call) -> Data:
    """Take the head out of a queue and give it to the caller; nothing if the queue is empty.

    All calls that write run one after the other, so no two workers get the same task. An entry whose task was
    deleted, or is not queued any more because somebody stopped it or ran it by hand, is dropped. The task stays
    `queued` until the worker says that it started.
    """
    queue = the_queue(tx, call)["id"]
    wanted = call.text("task")
    while entry := queueing.take(tx, wanted, queue) if wanted else queueing.pop(tx, queue):
        task = tx.one("SELECT status, user FROM tasks WHERE id = ?", [entry.task])
        if task is None or task[0] != "queued":
            continue
        answer: Data = {"entry": {"task": entry.task, "added": entry.added}}
        if call.flag("get_task_info"):
            answer["task_info"] = {"company": COMPANY, "user": task[1]}
        return answer
    return {}


@endpoint("queues.peek_task")
def peek_task(tx: Transaction, call: Call) -> Data:
    """Answer with the id of the task at the head, and leave it there."""
    line = queueing.entries(tx, the_queue(tx, call)["id"])
    return {"task": line[0].task} if line else {}


@endpoint("queues.add_task", writes=True)
def add_task(tx: Transaction, call: Call) -> Data:
    """Put a task at a queue's end."""
    enqueue_task(tx, call, entities.load(tx, TASK, call.required("task")), the_queue(tx, call)["id"])
    return {"added": 1}


@endpoint("queues.remove_task", writes=True)
def remove_task(tx: Transaction, call: Call) -> Data:
    """Take a task out of a queue; with `update_task_status` it becomes what it was before."""
    queue, task = the_queue(tx, call)["id"], call.required("task")
    entry = queueing.entry_of(tx, task)
    if entry is None or entry.queue != queue:
        raise ApiError(400, 703, "Task is not queued", task=task, queue=queue)
    if call.flag("update_task_status"):
        release(tx, call, [entry])
    else:
        queueing.take(tx, task)
    return {"removed": 1}


@endpoint("queues.clear_queue", writes=True)
def clear_queue(tx: Transaction, call: Call) -> Data:
    """Take all tasks out of a queue; they become what they were before."""
    waiting = queueing.entries(tx, the_queue(tx, call)["id"])
    release(tx, call, waiting)
    return {"removed_tasks": [entry.task for entry in waiting]}


@endpoint("queues.move_task_forward", writes=True)
def move_task_forward(tx: Transaction, call: Call) -> Data:
    """Move a task towards its queue's head."""
    return _move(tx, call, by=-_count(call))


@endpoint("queues.move_task_backward", writes=True)
def move_task_backward(tx: Transaction, call: Call) -> Data:
    """Move a task towards its queue's end."""
    return _move(tx, call, by=_count(call))


@endpoint("queues.move_task_to_front", writes=True)
def move_task_to_front(tx: Transaction, call: Call) -> Data:
    """Make a task the next one."""
    return _move(tx, call, to=0)


@endpoint("queues.move_task_to_back", writes=True)
def move_task_to_back(tx: Transaction, call: Call) -> Data:
    """Make a task the last one."""
    return _move(tx, call, to=-1)


def _count(call: Call) -> int:
    count = call.integer("count", 1)
    if count is None or count < 1:
        raise invalid("count must be at least 1", count=count)
    return count


def _move(tx: Transaction, call: Call, *, by: int | None = None, to: int | None = None) -> Data:
    queue = the_queue(tx, call)["id"]
    return {"position": queueing.move(tx, call.required("task"), queue, by=by, to=to)}
