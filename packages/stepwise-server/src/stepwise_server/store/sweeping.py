"""Removes the rows of what was deleted, in pieces so small that no client waits for them.

Deleting ten million points takes half a minute. So whoever deletes a series or a console removes its one row, by
which the others would be found, and puts its id into the table `litter`; the writer sweeps when it is idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwise_server.store.database import Transaction

PIECE_ROWS = 10_000
"""Rows that are removed in one transaction: about ten milliseconds."""

TABLES = {
    "series": [("scalars", "series", "iter"), ("scalar_blocks", "series", "level, block")],
    "console": [("logs", "console", "timestamp, number")],
}
"""Kind of litter: tables, the column with the id, the rest of the primary key."""


def sweep(tx: Transaction) -> bool:
    """Remove at most `PIECE_ROWS` rows; tell whether there may be more."""
    litter = tx.one("SELECT kind, id FROM litter LIMIT 1")
    if litter is None:
        return False
    for table, column, key in TABLES[litter[0]]:
        rows = f"FROM {table} WHERE {column} = ?"
        last = tx.one(f"SELECT {key} {rows} ORDER BY {key} LIMIT 1 OFFSET ?", [litter[1], PIECE_ROWS - 1])
        if last is not None:
            tx.execute(f"DELETE {rows} AND ({key}) <= ({', '.join('?' * len(last))})", [litter[1], *last])
            return True
        tx.execute(f"DELETE {rows}", [litter[1]])
    tx.execute("DELETE FROM litter WHERE kind = ? AND id = ?", litter)
    return True
