"""Sums over blocks of iterations, so that a chart of ten million points reads some ten thousand rows.

A block of level k spans 2^(shift + 2k) iterations: 8, 32, 128, … for a series that reports every iteration. Blocks
hold all points before the iteration `folded_to`; later ones are read as they are. So appending costs nothing until
`FOLD_POINTS` have come together, and then one statement per level. Points that are reported again below `folded_to`
(a run that was restarted from iteration 0) recompute the blocks that they lie in, and nothing else.
"""

from collections.abc import Iterable

from stepwise_server.store.database import Transaction

FOLD_POINTS = 8192
"""So many new points of a series are folded at once; a shorter series has no blocks."""

LEVELS = 8
"""Levels of blocks; the highest spans 131 072 iterations, or more for a series with gaps."""

FIRST_SHIFT = 3
"""The smallest block spans 2^3 iterations."""

POINTS_PER_BLOCK = 4
"""So many points the smallest block should hold, at least on average: a series with gaps gets longer blocks."""

SINGLE_VALUE = -(1 << 31)
"""The iteration that marks a value without iteration; it and what lies below is in no chart."""


def fold(tx: Transaction, series: int, points: int, folded_to: int | None, shift: int | None) -> None:
    """Bring the blocks of a series up to its last full block.

    Args:
        tx: writes.
        series: its id.
        points: how many came since it was last folded.
        folded_to: what its row says; None if it has no blocks yet.
        shift: likewise.
    """
    first = tx.value(
        "SELECT iter FROM scalars WHERE series = ? AND iter > ? ORDER BY iter LIMIT 1", [series, SINGLE_VALUE]
    )
    last = tx.value("SELECT max(iter) FROM scalars WHERE series = ?", [series])
    if shift is None:
        shift = _first_shift(last - first + 1, points)
    start = first >> shift if folded_to is None else folded_to >> shift
    stop = last >> shift
    if stop > start:
        folded_to = stop << shift
        _refresh(tx, series, shift, [(start, stop - 1)])
    tx.execute(
        "UPDATE series SET unfolded = 0, folded_to = ?, shift = ? WHERE id = ?",
        [folded_to, shift if folded_to is not None else None, series],
    )


def refold(tx: Transaction, series: int, shift: int, iterations: Iterable[int]) -> None:
    """Recompute the blocks that hold these iterations, which lie below `folded_to`."""
    blocks = sorted({iteration >> shift for iteration in iterations})
    _refresh(tx, series, shift, [(block, block) for block in blocks])


def _first_shift(span: int, points: int) -> int:
    """Return the exponent of the smallest block for a series of so many points over so many iterations."""
    shift = FIRST_SHIFT
    while (points << shift) < POINTS_PER_BLOCK * span:
        shift += 2
    return min(shift, 45)  # with all levels still a shift within 64 bits


def _refresh(tx: Transaction, series: int, shift: int, blocks: Iterable[tuple[int, int]]) -> None:
    """Compute these blocks of level 0 from the points, and those above from the level below.

    Args:
        tx: writes.
        series: id of the series.
        shift: of level 0.
        blocks: runs of blocks of level 0 (first, last) in order, all below `folded_to`.
    """
    runs = merged(blocks)
    tx.executemany(
        """INSERT OR REPLACE INTO scalar_blocks
           SELECT series, 0, iter >> ?2 AS block, count(*), sum(value), min(timestamp) FROM scalars
           WHERE series = ?1 AND iter >= ?3 AND iter < ?4 AND iter > ?5 GROUP BY block""",
        [(series, shift, first << shift, (last + 1) << shift, SINGLE_VALUE) for first, last in runs],
    )
    for level in range(1, LEVELS):
        runs = merged((first >> 2, last >> 2) for first, last in runs)
        # The sum of an infinite and a negative infinite total is NULL, which no client needs to hear of.
        tx.executemany(
            """INSERT OR REPLACE INTO scalar_blocks
               SELECT series, ?2 + 1, block >> 2 AS parent, sum(count), ifnull(sum(total), 0), min(timestamp)
               FROM scalar_blocks WHERE series = ?1 AND level = ?2 AND block >= ?3 AND block < ?4
               GROUP BY parent""",
            [(series, level - 1, first << 2, (last + 1) << 2) for first, last in runs],
        )


def merged(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join runs of numbers (first, last) that touch or overlap; they come in order."""
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined
