"""workers.*: machines that take tasks from queues register, report and are listed."""

from typing import Any

from stepwise_server import clock, limits
from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import seconds_between, stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError, invalid, missing
from stepwise_server.store import entities, queueing, worker_stats, workers
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import COMPANY, Document
from stepwise_server.store.functions import compiled
from stepwise_server.store.query import operators
from stepwise_server.store.workers import Worker

Data = dict[str, Any]


@endpoint("workers.register", writes=True)
def register(tx: Transaction, call: Call) -> Data:
    """Register a worker, again if it is there already."""
    timeout = call.integer("timeout", limits.WORKER_SECONDS)
    if timeout is None or timeout < 1:
        raise invalid("timeout must be at least 1 second", timeout=timeout)
    worker = workers.new(tx, call.required("worker"), call.user, timeout)
    worker.tags, worker.system_tags = call.texts("tags"), call.texts("system_tags")
    worker.queues = _known_queues(tx, call.texts("queues"))
    worker.ip = call.address
    workers.save(tx, worker)
    return {}


@endpoint("workers.unregister", writes=True)
def unregister(tx: Transaction, call: Call) -> Data:
    """Forget a worker."""
    worker_id = call.required("worker")
    if workers.find(tx, worker_id) is None:
        raise ApiError(400, 1002, "Worker is not registered", worker=worker_id)
    workers.remove(tx, worker_id)
    return {}


@endpoint("workers.status_report", writes=True)
def status_report(tx: Transaction, call: Call) -> Data:
    """Take a worker's report: what it runs, and how its machine does. An unknown worker is registered."""
    if not call.given("timestamp"):
        raise missing("timestamp")
    worker_id = call.required("worker")
    worker = workers.find(tx, worker_id) or workers.new(tx, worker_id, call.user)
    worker.ip = call.address
    worker.task, worker.queue = call.text("task") or None, call.text("queue") or None
    if call.given("queues"):
        worker.queues = _known_queues(tx, call.texts("queues"))
    if call.given("tags"):
        worker.tags = call.texts("tags")
    if call.given("system_tags"):
        worker.system_tags = call.texts("system_tags")
    if worker.task:
        _note_report(tx, call, worker)
    workers.save(tx, worker)
    machine = call.mapping("machine_stats")
    worker_stats.record(tx, worker.id, machine, active=worker.task is not None)
    return {}


def _known_queues(tx: Transaction, queues: list[str]) -> list[str]:
    for queue in queues:
        if not entities.exists(tx, entities.QUEUE, queue):
            raise entities.QUEUE.unknown(queue)
    return queues


def _note_report(tx: Transaction, call: Call, worker: Worker) -> None:
    """Note in the task that its worker reported: the task is alive."""
    task = entities.load(tx, entities.TASK, worker.task)
    report = {"last_worker": worker.id, "last_worker_report": tx.now}
    entities.save(tx, entities.TASK, task["id"], {**report, **stamps(tx, call, task)})


@endpoint("workers.get_all")
def get_all(tx: Transaction, call: Call) -> Data:
    """List the workers with what they run and which queues they take tasks from."""
    return {"workers": [_shown(tx, worker) for worker in _selected(tx, call)]}


@endpoint("workers.get_count")
def get_count(tx: Transaction, call: Call) -> Data:
    """Count the workers."""
    return {"count": len(_selected(tx, call))}


def _selected(tx: Transaction, call: Call) -> list[Worker]:
    """Return the workers that fit the call's filters."""
    seconds = call.number("last_seen", limits.WORKER_SEEN_SECONDS)
    earliest = clock.iso_ago(min(seconds, 1e9)) if seconds and seconds > 0 else ""
    found = [worker for worker in workers.present(tx) if worker.last_report >= earliest]
    if pattern := call.text("worker_pattern"):
        found = [worker for worker in found if _matches(pattern, worker.id)]
    for name in ("tags", "system_tags"):
        if tags := call.params.get(name):
            choice = operators.parse(tags, name)
            found = [worker for worker in found if _fits(choice, getattr(worker, name))]
    return found


def _fits(choice: operators.Choice, tags: list[str]) -> bool:
    """Tell whether tags are what a choice asks for."""
    groups = []
    if choice.anyone:
        groups.append(any(tag in tags for tag in choice.anyone))
    if choice.everyone:
        groups.append(all(tag in tags for tag in choice.everyone))
    if choice.none:
        groups.append(not any(tag in tags for tag in choice.none))
    if not groups:
        return not (choice.empty and tags)
    return (any(groups) if choice.alternatives else all(groups)) or (choice.empty and not tags)


def _matches(pattern: str, text: str) -> bool:
    try:
        return compiled(pattern).search(text, timeout=limits.REGEX_SECONDS) is not None
    except TimeoutError:
        raise ApiError(400, 21, "The regular expression takes too long to match") from None


def _shown(tx: Transaction, worker: Worker) -> Document:
    """Return a worker as it is listed."""
    document: Document = {
        **{name: getattr(worker, name) for name in ("id", "key", "ip", "register_time", "register_timeout")},
        "user": {"id": worker.user, "name": tx.value("SELECT name FROM users WHERE id = ?", [worker.user])},
        "company": {"id": COMPANY, "name": "clearml"},
        "last_activity_time": worker.last_report,
        "last_report_time": worker.last_report,
        "tags": worker.tags,
        "system_tags": worker.system_tags,
        "queues": [shown for queue in worker.queues if (shown := _queue(tx, queue))],
    }
    if worker.queue and (queue := tx.one("SELECT id, name FROM queues WHERE id = ?", [worker.queue])):
        document["queue"] = {"id": queue[0], "name": queue[1]}
    if worker.task:
        document.update(_task(tx, worker.task))
    return document


def _queue(tx: Transaction, queue: str) -> Document | None:
    """Return a queue that a worker takes tasks from; None if it was deleted."""
    row = tx.one("SELECT id, name, coalesce(display_name, name) FROM queues WHERE id = ?", [queue])
    if row is None:
        return None
    shown = {"id": row[0], "name": row[1], "display_name": row[2], "num_tasks": queueing.count(tx, queue)}
    following = tx.one(
        "SELECT t.id, t.name FROM queue_entries e JOIN tasks t ON t.id = e.task"
        " WHERE e.queue = ? ORDER BY e.position LIMIT 1",
        [queue],
    )
    return {**shown, "next_task": {"id": following[0], "name": following[1]}} if following else shown


def _task(tx: Transaction, task: str) -> Document:
    """Return the task that a worker runs, and its project; nothing if it was deleted."""
    row = tx.one(
        "SELECT t.id, t.name, t.started, t.last_iteration, p.id, p.name"
        " FROM tasks t LEFT JOIN projects p ON p.id = t.project WHERE t.id = ?",
        [task],
    )
    if row is None:
        return {}
    running = {"id": row[0], "name": row[1], "last_iteration": row[3]}
    if row[2]:
        running["running_time"] = 1000 * seconds_between(row[2], tx.now)
    return {"task": running} | ({"project": {"id": row[4], "name": row[5]}} if row[4] else {})
