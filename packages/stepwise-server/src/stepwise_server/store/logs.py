"""Console lines of tasks. They are only ever added: two that are alike are two."""

from collections.abc import Sequence
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
