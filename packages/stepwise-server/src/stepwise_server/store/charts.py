"""Curves for charts: at most so many points of each series, each the exact mean of its bucket.

A bucket is `floor(x / interval) * interval`, with one interval for a whole series. Where the interval is small, all
points are read. Where it is large, the sums of `folding` are: the interval is then rounded up to a multiple of the
largest block that is at most an eighth of it, so that no block lies in two buckets. (Over time a block counts where
its first point lies.) If the curves of a call are so many that they would read too much, a half is coarse enough.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stepwise_server.store.database import Transaction
from stepwise_server.store.folding import LEVELS, SINGLE_VALUE

Axis = Literal["iter", "timestamp"]

Names = Mapping[str, Collection[str] | None] | None
"""Metrics, each with its variants or None for all; None for all metrics."""

BLOCKS_PER_BUCKET = (8, 2)
"""How many blocks a bucket should have at least; the second where the first reads too much."""

ROWS = 400_000
"""Reading more than this is too much: about 70 ms."""

SIMILAR = 0.9
"""Series whose intervals differ by no more than this factor share the larger one."""


@dataclass(slots=True)
class Series:
    """A series and the part of its row that a chart needs."""

    id: int
    metric: str
    variant: str
    x_axis_label: str | None
    points: int
    unfolded: int
    folded_to: int | None
    shift: int
    first_timestamp: int
    last_timestamp: int


@dataclass(slots=True)
class Curve:
    """Points of one series.

    Attributes:
        series: what they are of.
        x: starts of the buckets, ascending.
        y: means of the values in them.
    """

    series: Series
    x: Sequence[int]
    y: Sequence[float | None]


def series_of(tx: Transaction, owner: str, names: Names = None) -> list[Series]:
    """Return the series of a task or model that charts can show, by metric and variant."""
    rows = tx.execute(
        """SELECT id, metric, variant, x_axis_label, points, unfolded, folded_to, ifnull(shift, 0),
                  first_timestamp, last_timestamp
           FROM series WHERE owner = ? AND points > 0 ORDER BY metric, variant""",
        [owner],
    )
    return [each for each in (Series(*row) for row in rows) if is_wanted(names, each.metric, each.variant)]


def is_wanted(names: Names, metric: str, variant: str) -> bool:
    """Tell whether a filter lets a metric and variant through."""
    if names is None:
        return True
    if metric not in names:
        return False
    variants = names[metric]
    return variants is None or variant in variants


def curves(
    tx: Transaction, series: Sequence[Series], samples: int, axis: Axis, most_rows: int = ROWS
) -> list[Curve]:
    """Return a curve for each series of one task or model.

    Args:
        tx: reads.
        series: from `series_of`.
        samples: about so many points of each are wanted, or a few less.
        axis: what lies on the x axis.
        most_rows: what may be read for all of them, where that can be chosen.
    """
    extents = [_extent(tx, each, samples, axis) for each in series]
    intervals = _shared([interval for interval, _ in extents])
    for least in BLOCKS_PER_BUCKET:
        plans = [
            _plan(each, interval if axis == "iter" else _interval(span, samples), span, least)
            for each, interval, (_, span) in zip(series, intervals, extents, strict=True)
        ]
        if sum(rows for _, rows in plans) <= most_rows:
            break
    return [
        _curve(tx, each, interval, level, axis)
        for each, interval, (level, _) in zip(series, intervals, plans, strict=True)
    ]


def _extent(tx: Transaction, series: Series, samples: int, axis: Axis) -> tuple[int, int]:
    """Return the interval for a series, and how many iterations it spans."""
    first, last = (
        tx.value(
            f"SELECT iter FROM scalars WHERE series = ? AND iter > ? ORDER BY iter {order} LIMIT 1",
            [series.id, SINGLE_VALUE],
        )
        for order in ("", "DESC")
    )
    span = last - first + 1
    if series.points < samples or _fewer(tx, series, samples):
        return 1, span
    if axis == "iter":
        return _interval(span, samples), span
    start, end = series.first_timestamp, series.last_timestamp
    if series.folded_to is None:
        found = tx.one(
            "SELECT min(timestamp), max(timestamp) FROM scalars WHERE series = ? AND iter > ?",
            [series.id, SINGLE_VALUE],
        )
        start, end = found or (start, end)
    return _interval(end - start + 1, samples), span


def _fewer(tx: Transaction, series: Series, samples: int) -> bool:
    """Tell whether a series has fewer points than samples; `points` counts overwritten ones too."""
    counted: int = tx.value(
        "SELECT count(*) FROM (SELECT 1 FROM scalars WHERE series = ? AND iter > ? LIMIT ?)",
        [series.id, SINGLE_VALUE, samples],
    )
    return counted < samples


def _interval(span: int, samples: int) -> int:
    return min(max(1, -(-span // samples)), 1 << 62)


def _shared(intervals: Sequence[int]) -> list[int]:
    """Return the intervals, those within 10 % of a larger one replaced by it."""
    largest, shared = 0, {}
    for interval in sorted(set(intervals), reverse=True):
        if interval < largest * SIMILAR or not largest:
            largest = interval
        shared[interval] = largest
    return [shared[interval] for interval in intervals]


def _plan(series: Series, interval: int, span: int, least: int) -> tuple[int | None, int]:
    """Return the level of blocks to read, None for all points; and how many rows that reads, roughly.

    Args:
        series: the series.
        interval: in iterations.
        span: of the series, in iterations.
        least: blocks that a bucket should have.
    """
    if series.folded_to is None or (interval // least) >> series.shift == 0:
        return None, series.points
    level = min(LEVELS - 1, (((interval // least) >> series.shift).bit_length() - 1) // 2)
    return level, min(series.points, span >> (series.shift + 2 * level)) + series.unfolded


def _curve(tx: Transaction, series: Series, interval: int, level: int | None, axis: Axis) -> Curve:
    """Read a series in buckets of an interval, from blocks of a level and the points after them."""
    sources = [
        f"SELECT {axis} AS at, value AS total, 1 AS count FROM scalars WHERE series = ?1 AND iter >= ?2"
    ]
    values = [series.id, SINGLE_VALUE + 1]
    if level is not None and series.folded_to is not None:
        width = 1 << (series.shift + 2 * level)
        at = f"block * {width}" if axis == "iter" else "timestamp"
        sources.append(f"SELECT {at}, total, count FROM scalar_blocks WHERE series = ?1 AND level = ?4")
        if axis == "iter":
            interval = -(-interval // width) * width
        values = [series.id, series.folded_to, interval, level]
    else:
        values.append(interval)
    statement = f"""SELECT at - at % ?3 - iif(at % ?3 < 0, ?3, 0) AS bucket, sum(total) / sum(count)
                    FROM ({" UNION ALL ".join(sources)}) GROUP BY bucket ORDER BY bucket"""
    pairs = tx.execute(statement, values).fetchall()
    x, y = zip(*pairs, strict=True) if pairs else ((), ())
    return Curve(series, [int(each) for each in x], y)
