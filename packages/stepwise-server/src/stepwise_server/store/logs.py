"""Console lines of tasks. They are only ever added: two that are alike are two."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepwise_server.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Line:
    """One console event; `msg` may hold several lines of text.

    Attributes:
        timestamp: milliseconds since 1970.
        number: order of arrival, which tells lines of the same millisecond apart.
        iteration: if one was given.
        metric: if one was given.
        variant: if one was given.
        level: such as INFO.
        worker: who sent it.
        msg: the text.
        arrived: when it was stored.
    """

    timestamp: int
    number: int
    iteration: int | None
    metric: str | None
    variant: str | None
    level: str | None
    worker: str | None
    msg: str
    arrived: str


LINE = "timestamp, number, iter, metric, variant, level, worker, msg, arrived"
"""The columns of a `Line`, in order."""

NewLine = tuple[int, int | None, str | None, str | None, str | None, str | None, str]
"""A line on its way in: timestamp, iteration, metric, variant, level, worker, msg."""


def console_of(tx: Transaction, owner: str) -> tuple[int, int] | None:
    """Return the id of an owner's console and its number of lines; None if it has none."""
    row = tx.one("SELECT id, lines FROM consoles WHERE owner = ?", [owner])
    return None if row is None else (row[0], row[1])


def add_lines(tx: Transaction, owner: str, lines: Sequence[NewLine]) -> None:
    """Add lines to a task's console."""
    row = tx.one(
        """INSERT INTO consoles (owner, lines, next_number) VALUES (?1, ?2, ?2)
           ON CONFLICT (owner) DO UPDATE SET lines = lines + ?2, next_number = next_number + ?2
           RETURNING id, next_number""",
        [owner, len(lines)],
    )
    assert row is not None
    console, next_number = row
    tx.executemany(
        """INSERT INTO logs (console, number, arrived, timestamp, iter, metric, variant, level, worker, msg)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            (console, number, tx.now, *line)
            for number, line in enumerate(lines, start=next_number - len(lines))
        ),
    )


def lines_after(
    tx: Transaction,
    console: int,
    start: float | tuple[int, int] | None,
    *,
    descending: bool,
    limit: int = -1,
) -> Iterator[Line]:
    """Yield lines in the order of their time; read as they are asked for.

    Args:
        tx: reads.
        console: id from `console_of`.
        start: the moment after which to begin, or timestamp and number of the line after which to begin.
        descending: newest first, and so "after" is before.
        limit: so many at most; -1 for all.
    """
    sign, order = ("<", "DESC") if descending else (">", "ASC")
    condition = ""
    values: list[float] = []
    if isinstance(start, tuple):
        condition, values = f"AND (timestamp, number) {sign} (?, ?)", [*start]
    elif start is not None:
        condition, values = f"AND timestamp {sign} ?", [start]
    rows = tx.execute(
        f"""SELECT {LINE} FROM logs WHERE console = ? {condition}
            ORDER BY timestamp {order}, number {order} LIMIT ?""",
        [console, *values, limit],
    )
    for row in rows:
        yield Line(*row)


def clear(
    tx: Transaction, owner: str, before: int | None, include: Sequence[str] | None, exclude: Sequence[str]
) -> int:
    """Delete lines, and return how many.

    Args:
        tx: writes.
        owner: id of the task.
        before: only those before this moment; None for all.
        include: only those of these metrics; None for all.
        exclude: none of these metrics.
    """
    console = console_of(tx, owner)
    if console is None:
        return 0
    if before is None and include is None and not exclude:
        tx.execute("INSERT INTO litter VALUES ('console', ?)", [console[0]])
        tx.execute("DELETE FROM consoles WHERE id = ?", [console[0]])
        tx.execute("DELETE FROM metric_stats WHERE owner = ? AND type = 'log'", [owner])
        return console[1]
    deleted = tx.execute(
        """DELETE FROM logs WHERE console = ?1 AND (?2 IS NULL OR timestamp < ?2)
           AND (?3 IS NULL OR ifnull(metric, '') IN (SELECT value FROM json_each(?3)))
           AND ifnull(metric, '') NOT IN (SELECT value FROM json_each(?4))""",
        [console[0], before, None if include is None else json.dumps(include), json.dumps(exclude)],
    ).rowcount
    tx.execute("UPDATE consoles SET lines = lines - ? WHERE id = ?", [deleted, console[0]])
    return deleted
