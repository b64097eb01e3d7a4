"""Queues: who waits where. The head of a queue is the entry with the lowest position.

These functions only keep the lines of waiting tasks; what a place in a line means for a task's status and its
`execution.queue` is decided in `api/tasks/queueing.py`.
"""

from dataclasses import dataclass

from stepwise_server.errors import ApiError
from stepwise_server.store import queue_stats
from stepwise_server.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Entry:
    """A task that waits.

    Attributes:
        task: its id.
        queue: id of the queue.
        added: since when.
        previous_status: what it was before it was queued; it goes back to that when it is taken out.
    """

    task: str
    queue: str
    added: str
    previous_status: str | None


_COLUMNS = "task, queue, added, previous_status"


def entry_of(tx: Transaction, task: str) -> Entry | None:
    """Return where a task waits, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM queue_entries WHERE task = ?", [task])
    return Entry(*row) if row else None


def entries(tx: Transaction, queue: str) -> list[Entry]:
    """Return a queue's entries, its head first."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM queue_entries WHERE queue = ? ORDER BY position", [queue])
    return [Entry(*row) for row in rows]


def count(tx: Transaction, queue: str) -> int:
    """Return how many tasks wait in a queue."""
    waiting: int = tx.value("SELECT count(*) FROM queue_entries WHERE queue = ?", [queue])
    return waiting


def append(tx: Transaction, task: str, queue: str, previous_status: str | None = None) -> None:
    """Put a task at a queue's end. A task that waits in another queue leaves that one.

    Raises:
        ApiError: 400/706 if it waits in this queue already.
    """
    current = entry_of(tx, task)
    if current and current.queue == queue:
        raise ApiError(400, 706, "Task is already queued", task=task, queue=queue)
    if current:
        take(tx, task)
        previous_status = current.previous_status
    tx.execute(
        "INSERT INTO queue_entries (task, queue, position, added, previous_status) VALUES"
        " (?, ?, (SELECT coalesce(max(position), 0) + 1 FROM queue_entries WHERE queue = ?), ?, ?)",
        [task, queue, queue, tx.now, previous_status],
    )
    _touch(tx, queue)


def take(tx: Transaction, task: str, queue: str | None = None) -> Entry | None:
    """Take a task out of the line.

    Args:
        tx: a writing transaction.
        task: the task's id.
        queue: take it only out of this queue.

    Returns:
        Its entry, or None if it did not wait (there).
    """
    entry = entry_of(tx, task)
    if entry is None or (queue is not None and entry.queue != queue):
        return None
    queue_stats.record(tx, entry.queue)
    tx.execute("DELETE FROM queue_entries WHERE task = ?", [task])
    _touch(tx, entry.queue)
    return entry


def pop(tx: Transaction, queue: str) -> Entry | None:
    """Take the head out of a queue and return it; None if the queue is empty."""
    first = tx.value("SELECT task FROM queue_entries WHERE queue = ? ORDER BY position LIMIT 1", [queue])
    return take(tx, first, queue) if first else None


def move(tx: Transaction, task: str, queue: str, *, by: int | None = None, to: int | None = None) -> int:
    """Move a task within its queue, as far as the queue reaches, and return its new place, 0 for the head.

    Args:
        tx: a writing transaction.
        task: the task's id.
        queue: the queue's id.
        by: so many places, negative towards the head.
        to: to this place instead; -1 is the end.

    Raises:
        ApiError: 400/703 if the task does not wait there.
    """
    line = tx.column("SELECT task FROM queue_entries WHERE queue = ? ORDER BY position", [queue])
    if task not in line:
        raise ApiError(400, 703, "Task is not queued", task=task, queue=queue)
    old = line.index(task)
    last = len(line) - 1
    place = (last if to == -1 else to) if to is not None else old + (by or 0)
    place = max(0, min(place, last))
    line.insert(place, line.pop(old))
    # New positions start above all old ones: two entries never share one, not even in between.
    base: int = tx.value("SELECT max(position) + 1 FROM queue_entries WHERE queue = ?", [queue])
    tx.executemany(
        "UPDATE queue_entries SET position = ? WHERE task = ?",
        [(base + number, each) for number, each in enumerate(line)],
    )
    _touch(tx, queue)
    return place


def _touch(tx: Transaction, queue: str) -> None:
    tx.execute("UPDATE queues SET last_update = ? WHERE id = ?", [tx.now, queue])
    queue_stats.record(tx, queue)


def default_queue(tx: Transaction) -> str:
    """Return the id of the queue with the system tag `default`.

    Raises:
        ApiError: 400/707 if there is none, 400/708 if there are several.
    """
    found: list[str] = tx.column(
        "SELECT queues.id FROM queues, json_each(queues.system_tags) WHERE json_each.value = 'default'"
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise ApiError(400, 708, "More than one default queue", queues=found)
    raise ApiError(400, 707, "No default queue")
