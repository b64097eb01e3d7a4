"""Series: the metric and variant pairs of tasks and models. Their ids are remembered by the writing thread."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from stepwise_server.store.database import Transaction

REMEMBERED_OWNERS = 1000
"""Of so many tasks and models the ids of their series are kept in memory."""


@lru_cache(maxsize=16384)
def name_hash(name: str) -> str:
    """Return the MD5 of a metric's or variant's name; clients build `last_metrics.<hash>.<hash>.value` of it."""
    return hashlib.md5(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def series_ids(tx: Transaction, owner: str, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the ids of an owner's series by metric and variant, and make those that are absent.

    Args:
        tx: writes.
        owner: id of the task or model.
        names: metric and variant of the series that must be there.
    """
    remembered: dict[str, dict[tuple[str, str], int]] = tx.memory.setdefault("series", {})
    known = remembered.get(owner)
    if known is not None and all(name in known for name in names):
        return known
    rows = tx.execute("SELECT metric, variant, id FROM series WHERE owner = ?", [owner])
    ids: dict[tuple[str, str], int] = {(metric, variant): series for metric, variant, series in rows}
    for name in names:
        if name not in ids:
            row = tx.one(
                """INSERT INTO series (owner, metric, variant, metric_hash, variant_hash, count)
                   VALUES (?, ?, ?, ?, ?, 0) RETURNING id""",
                [owner, *name, name_hash(name[0]), name_hash(name[1])],
            )
            assert row is not None
            ids[name] = row[0]

    def remember() -> None:
        if len(remembered) >= REMEMBERED_OWNERS:
            remembered.clear()
        remembered[owner] = ids

    tx.after_commit(remember)
    return ids


def forget_series(tx: Transaction, owner: str) -> None:
    """Forget the ids of an owner's series, which are being deleted."""
    remembered: dict[str, dict[tuple[str, str], int]] = tx.memory.setdefault("series", {})

    def forget() -> None:
        remembered.pop(owner, None)

    forget()
    tx.after_commit(forget)  # a call before this one may have put them back after the same commit
