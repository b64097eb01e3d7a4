"""Which rows: ids in order, and how many there are."""

from dataclasses import dataclass

from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Entity
from stepwise_server.store.query.clauses import Clause


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the rows.

    Attributes:
        size: how many.
        start: how many before it.
    """

    size: int
    start: int = 0


def select(tx: Transaction, entity: Entity, where: Clause, order: Clause, window: Window) -> list[str]:
    """Return the ids of the rows in a window.

    Args:
        tx: a transaction.
        entity: their kind.
        where: from `filters.where`.
        order: from `ordering.order`.
        window: which of them.
    """
    statement = f"SELECT id FROM {entity.table} WHERE {where.text} ORDER BY {order.text} LIMIT ? OFFSET ?"
    return tx.column(statement, (*where.values, *order.values, window.size, window.start))


def count(tx: Transaction, entity: Entity, where: Clause) -> int:
    """Return how many rows fit."""
    number: int = tx.value(f"SELECT count(*) FROM {entity.table} WHERE {where.text}", where.values)
    return number
