"""How long queues were, and how long the tasks in them had waited: one row for each second in which a queue changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from stepwise_server import clock
from stepwise_server.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Point:
    """A queue in one interval.

    Attributes:
        date: start of the interval, in milliseconds since 1970.
        waited: the longest average waiting time in it, in seconds.
        length: how many tasks waited then.
    """

    date: int
    waited: float
    length: int


def record(tx: Transaction, queue: str) -> None:
    """Note a queue as it is now. Called before a task leaves and after every change.

    The first row of a second has the waiting time; what else happens in that second only changes the length. So
    a thousand tasks that are queued at once do not measure the whole queue a thousand times.
    """
    second = clock.milliseconds(tx.now) // 1000 * 1000
    if tx.one("SELECT 1 FROM queue_stats WHERE queue = ? AND timestamp = ?", [queue, second]):
        tx.execute(
            "UPDATE queue_stats SET length = (SELECT count(*) FROM queue_entries WHERE queue = ?)"
            " WHERE queue = ? AND timestamp = ?",
            [queue, queue, second],
        )
    else:
        now = measure(tx, queue)
        tx.execute("INSERT INTO queue_stats VALUES (?, ?, ?, ?)", [queue, second, now.length, now.waited])


def measure(tx: Transaction, queue: str) -> Point:
    """Return a queue as it is now."""
    row = tx.one(
        "SELECT count(*), coalesce(avg(julianday(?) - julianday(added)), 0) * 86400 FROM queue_entries WHERE queue = ?",
        [tx.now, queue],
    )
    length, waited = row or (0, 0.0)
    return Point(clock.milliseconds(tx.now), max(0.0, waited), length)


def series(tx: Transaction, queue: str, start: int, end: int, interval: int) -> list[Point]:
    """Return a queue's points between two times, the one with the longest waiting time of each interval.

    Args:
        tx: a transaction.
        queue: id of the queue.
        start: in milliseconds since 1970.
        end: likewise; included.
        interval: in milliseconds.
    """
    # SQLite takes a bare column next to max() from the row that has the maximum.
    rows = tx.execute(
        "SELECT timestamp / ? * ?, max(waited), length FROM queue_stats"
        " WHERE queue = ? AND timestamp BETWEEN ? AND ? GROUP BY 1 ORDER BY 1",
        [interval, interval, queue, start, end],
    )
    return [Point(date, waited, length) for date, waited, length in rows]


def together(queues: Sequence[Sequence[Point]]) -> list[Point]:
    """Return several queues as one: waiting times averaged, lengths added up.

    A queue that did not change in an interval is as long there as it was last.
    """
    dates = sorted({point.date for points in queues for point in points})
    known = [{point.date: point for point in points} for points in queues]
    last: list[Point | None] = [None] * len(known)
    result = []
    for date in dates:
        last = [by_date.get(date, before) for by_date, before in zip(known, last, strict=True)]
        now = [point for point in last if point]
        waited = sum(point.waited for point in now) / len(now)
        result.append(Point(date, waited, sum(point.length for point in now)))
    return result


def prune(tx: Transaction, before: int) -> None:
    """Delete what is older than this time, in milliseconds since 1970."""
    tx.execute("DELETE FROM queue_stats WHERE timestamp < ?", [before])
