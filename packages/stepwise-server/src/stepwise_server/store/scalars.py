"""Points of scalars on their way in: narrow rows, the cell of each series, its blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from stepwise_server.store.database import Transaction
from stepwise_server.store.folding import FOLD_POINTS, SINGLE_VALUE, fold, refold
from stepwise_server.store.series import series_ids


@dataclass(slots=True)
class Points:
    """The points of one metric and variant in a batch, and what they amount to.

    Attributes:
        metric: name of the metric.
        variant: name of the variant.
        iterations: of the points, in the order of arrival; of one iteration the last point counts.
        values: likewise.
        timestamps: likewise, in milliseconds.
        summary: values for the columns of the cell.
        x_axis_label: if the batch named one.
    """

    metric: str
    variant: str
    iterations: Sequence[int]
    values: Sequence[float]
    timestamps: Sequence[int]
    summary: tuple[float | int | None, ...]
    x_axis_label: str | None = None


def summarized(metric: str, variant: str, rows: Sequence[tuple[int, float, int]]) -> Points:
    """Return points with their summary; done outside the writing thread.

    Args:
        metric: name of the metric.
        variant: name of the variant.
        rows: (iteration, value, timestamp) in the order of arrival.
    """
    iterations, values, timestamps = zip(*rows, strict=True)
    lowest, highest = min(values), max(values)
    newest = max(zip(iterations, timestamps, range(len(rows)), strict=True))[2]
    first = min(zip(iterations, timestamps, range(len(rows)), strict=True))[2]
    charted: Sequence[int] = timestamps
    if iterations[first] <= SINGLE_VALUE:
        charted = [moment for iteration, _, moment in rows if iteration > SINGLE_VALUE]
    summary = (
        len(rows),
        sum(values),
        values[newest],
        iterations[newest],
        timestamps[newest],
        lowest,
        iterations[values.index(lowest)],
        highest,
        iterations[values.index(highest)],
        values[first],
        iterations[first],
        len(charted),
        min(charted, default=None),
        max(charted, default=None),
    )
    return Points(metric, variant, iterations, values, timestamps, summary)


UPDATE_SERIES = """
UPDATE series SET
    mean_value = ifnull(mean_value, 0) + (?2 - ?1 * ifnull(mean_value, 0)) / (count + ?1),
    count = count + ?1,
    value = ?3, value_iteration = ?4, value_timestamp = ?5,
    min_value_iteration = iif(min_value <= ?6, min_value_iteration, ?7),
    min_value = min(ifnull(min_value, ?6), ?6),
    max_value_iteration = iif(max_value >= ?8, max_value_iteration, ?9),
    max_value = max(ifnull(max_value, ?8), ?8),
    first_value_iteration = ifnull(first_value_iteration, ?11),
    first_value = ifnull(first_value, ?10),
    points = points + ?12, unfolded = unfolded + ?12,
    first_timestamp = min(ifnull(first_timestamp, ?13), ifnull(?13, first_timestamp)),
    last_timestamp = max(ifnull(last_timestamp, ?14), ifnull(?14, last_timestamp)),
    x_axis_label = ifnull(?15, x_axis_label)
WHERE id = ?16 RETURNING unfolded, folded_to, shift
"""


def add_points(tx: Transaction, owner: str, batch: Sequence[Points]) -> None:
    """Store points of a task or model; a point replaces an older one of its iteration.

    Args:
        tx: writes.
        owner: id of the task or model.
        batch: each metric and variant once.
    """
    ids = series_ids(tx, owner, [(each.metric, each.variant) for each in batch])
    tx.executemany(
        "INSERT OR REPLACE INTO scalars (series, iter, value, timestamp) VALUES (?, ?, ?, ?)",
        chain.from_iterable(
            zip(repeat(ids[each.metric, each.variant]), each.iterations, each.values, each.timestamps)
            for each in batch
        ),
    )
    for each in batch:
        series = ids[each.metric, each.variant]
        changed = tx.one(UPDATE_SERIES, (*each.summary, each.x_axis_label, series))
        if changed is None:
            raise LookupError(f"series {series} has gone")
        unfolded, folded_to, shift = changed
        if folded_to is not None and min(each.iterations) < folded_to:
            refold(tx, series, shift, (at for at in each.iterations if SINGLE_VALUE < at < folded_to))
        if unfolded >= FOLD_POINTS:
            fold(tx, series, unfolded, folded_to, shift)
