"""What tasks and models show of the events that they reported, and the removal of those events.

`last_metrics` is kept in the table `series`, one row per metric and variant, so that ten thousand reports a second
rewrite a few narrow rows and no document.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

from stepwise_server import limits
from stepwise_server.store.database import Transaction
from stepwise_server.store.series import forget_series, name_hash

Cell = dict[str, Any]

CELL = (
    "metric",
    "variant",
    "x_axis_label",
    "count",
    "value",
    "min_value",
    "min_value_iteration",
    "max_value",
    "max_value_iteration",
    "first_value",
    "first_value_iteration",
    "mean_value",
)
"""The members of a cell of `last_metrics`; each is a column of `series`."""


def last_metrics(
    tx: Transaction, owners: Sequence[str], metric_hashes: Collection[str] | None = None
) -> dict[str, dict[str, dict[str, Cell]]]:
    """Return the latest, lowest, highest, first and mean value of every metric and variant.

    At most `limits.METRICS_PER_TASK` cells of an owner are shown, the oldest.

    Args:
        tx: reads.
        owners: ids of tasks and models.
        metric_hashes: only these metrics; None means all.

    Returns:
        owner: metric hash: variant hash: cell. Each owner is there, also one without metrics.
    """
    found: dict[str, dict[str, dict[str, Cell]]] = {owner: {} for owner in owners}
    shown = dict.fromkeys(found, 0)
    rows = tx.execute(
        f"""SELECT owner, metric_hash, variant_hash, {", ".join(CELL)} FROM series
            WHERE owner IN (SELECT value FROM json_each(?)) ORDER BY id""",
        [json.dumps(list(found))],
    )
    for owner, metric_hash, variant_hash, *values in rows:
        shown[owner] += 1
        if shown[owner] > limits.METRICS_PER_TASK:
            continue
        if metric_hashes is not None and metric_hash not in metric_hashes:
            continue
        cell = {name: value for name, value in zip(CELL, values, strict=True) if value is not None}
        found[owner].setdefault(metric_hash, {})[variant_hash] = cell
    return found


def metric_stats(tx: Transaction, owners: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return when each metric was last reported, by type of event.

    Args:
        tx: reads.
        owners: ids of tasks and models.

    Returns:
        owner: metric hash: `{"metric": …, "event_stats_by_type": {type: {"last_update": …}}}`.
    """
    found: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    rows = tx.execute(
        """SELECT owner, metric, type, last_update FROM metric_stats
           WHERE owner IN (SELECT value FROM json_each(?))""",
        [json.dumps(list(found))],
    )
    for owner, metric, kind, last_update in rows:
        stats = found[owner].setdefault(name_hash(metric), {"metric": metric, "event_stats_by_type": {}})
        stats["event_stats_by_type"][kind] = {"last_update": last_update}
    return found


def delete_events(tx: Transaction, owner: str) -> list[str]:
    """Delete all events of a task or model.

    What is small goes at once. Points and console lines, which may be millions, cannot be found from here on;
    the writer removes them in pieces when it has nothing else to do, after a restart too.

    Args:
        tx: writes.
        owner: id of the task or model.

    Returns:
        The addresses of the files that its images and plots showed, each once.
    """
    urls = set(tx.column("SELECT url FROM events WHERE owner = ? AND url IS NOT NULL", [owner]))
    for text in tx.column(
        "SELECT source_urls FROM events WHERE owner = ? AND source_urls IS NOT NULL", [owner]
    ):
        urls.update(json.loads(text))
    tx.execute("INSERT INTO litter SELECT 'series', id FROM series WHERE owner = ?", [owner])
    tx.execute("INSERT INTO litter SELECT 'console', id FROM consoles WHERE owner = ?", [owner])
    for table in ("series", "consoles", "events", "metric_stats"):
        tx.execute(f"DELETE FROM {table} WHERE owner = ?", [owner])
    forget_series(tx, owner)
    return sorted(urls)
