"""Workers: machines that take tasks from queues, and what they reported last.

A worker is there until it says good-bye, or until it has not reported for as long as it said when it registered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from stepwise_server import clock, limits
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document


@dataclass(slots=True)
class Worker:
    """A registered worker.

    Attributes:
        id: its name, such as `host:0`; unique.
        key: a random id of this registration.
        user: whose credentials it uses.
        ip: where it reports from.
        queues: ids of the queues that it takes tasks from.
        tags: what its owner says about it.
        system_tags: what its program says about it.
        register_time: since when it is there.
        register_timeout: after so many seconds without a report it is gone.
        last_report: when it reported last.
        task: id of the task that it runs.
        queue: id of the queue that the task came from.
    """

    id: str
    key: str
    user: str
    ip: str
    queues: list[str]
    tags: list[str]
    system_tags: list[str]
    register_time: str
    register_timeout: int
    last_report: str
    task: str | None = None
    queue: str | None = None


def find(tx: Transaction, worker_id: str) -> Worker | None:
    """Return a worker, or None if it is not there."""
    found = _read(tx, "id = ? AND expires > ?", [worker_id, tx.now])
    return found[0] if found else None


def present(tx: Transaction) -> list[Worker]:
    """Return the workers that are there, by id."""
    return _read(tx, "expires > ? ORDER BY id", [tx.now])


def new(tx: Transaction, worker_id: str, user: str, timeout: int = limits.WORKER_SECONDS) -> Worker:
    """Return a worker that has just come; `save` keeps it."""
    return Worker(worker_id, entities.new_id(), user, "", [], [], [], tx.now, timeout, tx.now)


def save(tx: Transaction, worker: Worker) -> None:
    """Keep a worker as it is now, until it is silent for too long."""
    worker.last_report = tx.now
    expires = clock.parse(tx.now) + timedelta(seconds=worker.register_timeout)
    doc = msgspec.json.encode(worker).decode()
    tx.execute(
        "INSERT OR REPLACE INTO workers (id, key, doc, user, last_report, expires) VALUES (?, ?, ?, ?, ?, ?)",
        [worker.id, worker.key, doc, worker.user, tx.now, clock.iso(expires)],
    )


def remove(tx: Transaction, worker_id: str) -> None:
    """Forget a worker."""
    tx.execute("DELETE FROM workers WHERE id = ?", [worker_id])


def expired(tx: Transaction) -> list[str]:
    """Return the ids of workers that were silent for too long."""
    return tx.column("SELECT id FROM workers WHERE expires <= ?", [tx.now])


def watched(tx: Transaction, queue: str) -> bool:
    """Tell whether some worker takes tasks from a queue."""
    return any(queue in worker.queues for worker in present(tx))


def queue_workers(tx: Transaction, queues: Iterable[str]) -> dict[str, list[Document]]:
    """Return the workers that take tasks from these queues, as `queues.get_all_ex` shows them.

    Returns:
        For each queue `[{name, ip, key, task?: {id, name}}]`.
    """
    result: dict[str, list[Document]] = {queue: [] for queue in queues}
    workers = present(tx) if result else []
    names = task_names(tx, workers)
    for worker in workers:
        shown: Document = {"name": worker.id, "ip": worker.ip, "key": worker.key}
        if worker.task in names:
            shown["task"] = {"id": worker.task, "name": names[worker.task]}
        for queue in result.keys() & worker.queues:
            result[queue].append(shown)
    return result


def task_names(tx: Transaction, workers: Iterable[Worker]) -> dict[str | None, str]:
    """Return the names of the tasks that workers run, by id."""
    tasks = [worker.task for worker in workers if worker.task]
    found = tx.execute(
        "SELECT id, name FROM tasks WHERE id IN (SELECT value FROM json_each(?))",
        [msgspec.json.encode(tasks).decode()],
    )
    return dict(found.fetchall())


def _read(tx: Transaction, condition: str, values: list[Any]) -> list[Worker]:
    rows = tx.column(f"SELECT doc FROM workers WHERE {condition}", values)
    return [msgspec.json.decode(row, type=Worker) for row in rows]
