"""What workers reported of their machines over time: rows of metric, worker, time, variant and value.

A report may have a value for each core or GPU; the variant is their number. Besides the machine's figures there is
`active`, 1 while the worker runs a task, which every report has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from stepwise_server import clock, limits
from stepwise_server.errors import invalid
from stepwise_server.store.database import Transaction

METRICS: dict[str, tuple[str, ...]] = {
    "cpu": ("cpu_usage", "cpu_temperature"),
    "disk": ("disk_free_home", "disk_free_temp", "disk_read", "disk_write"),
    "gpu": ("gpu_usage", "gpu_temperature", "gpu_memory_free", "gpu_memory_used"),
    "memory": ("memory_free", "memory_used"),
    "network": ("network_rx", "network_tx"),
}
"""What is kept of a report, by category."""

ACTIVE = "active"

Aggregation = Literal["avg", "min", "max"]

Series = dict[int, float]
"""Values by the start of their interval, in milliseconds since 1970."""


def record(tx: Transaction, worker: str, machine: Mapping[str, Any], *, active: bool) -> None:
    """Keep a report. Its time is the server's, in whole seconds: clocks differ, and a flood adds no rows.

    Args:
        tx: a writing transaction.
        worker: id of the worker.
        machine: the report's `machine_stats`: numbers or lists of numbers.
        active: whether the worker runs a task.

    Raises:
        ApiError: 400/12 if a value is no number.
    """
    second = clock.milliseconds(tx.now) // 1000 * 1000
    rows = [(ACTIVE, worker, second, "", float(active))]
    for metric in (metric for category in METRICS.values() for metric in category):
        rows.extend((metric, worker, second, *value) for value in _values(metric, machine.get(metric)))
    tx.executemany("INSERT OR REPLACE INTO worker_stats VALUES (?, ?, ?, ?, ?)", rows)


def _values(metric: str, reported: Any) -> Iterator[tuple[str, float]]:
    """Yield variant and value of what was reported for a metric."""
    listed = isinstance(reported, list)
    for number, value in enumerate(reported[: limits.WORKER_DEVICES] if listed else [reported]):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise invalid(f"machine_stats.{metric} is no number", value=value)
        yield str(number) if listed else "", float(value)


def workers(tx: Transaction) -> list[str]:
    """Return the ids of all workers of which something is kept, also of those that are gone."""
    return tx.column("SELECT DISTINCT worker FROM worker_stats WHERE metric = ?", [ACTIVE])


def keys(tx: Transaction, worker_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return which metrics these workers reported, by category."""
    found = {
        category: [metric for metric in metrics if any(_reported(tx, metric, each) for each in worker_ids)]
        for category, metrics in METRICS.items()
    }
    return {category: metrics for category, metrics in found.items() if metrics}


def _reported(tx: Transaction, metric: str, worker: str) -> bool:
    return bool(
        tx.one("SELECT 1 FROM worker_stats WHERE metric = ? AND worker = ? LIMIT 1", [metric, worker])
    )


def series(
    tx: Transaction,
    metric: str,
    worker: str,
    aggregation: Aggregation,
    times: range,
    *,
    split: bool = False,
) -> dict[str, Series]:
    """Return one metric of one worker over time.

    Args:
        tx: a transaction.
        metric: which.
        worker: of which worker.
        aggregation: what becomes of several values in one interval.
        times: start, end and interval, in milliseconds; the end is included.
        split: each core or GPU for itself, instead of all together under "".

    Returns:
        The intervals in which there is something, for each variant.
    """
    variant = "variant" if split else "''"
    rows = tx.execute(
        f"SELECT {variant}, timestamp / ? * ?, {aggregation}(value) FROM worker_stats"
        " WHERE metric = ? AND worker = ? AND timestamp BETWEEN ? AND ? GROUP BY 1, 2 ORDER BY 1, 2",
        [times.step, times.step, metric, worker, times.start, times.stop],
    )
    result: dict[str, Series] = {}
    for name, date, value in rows:
        result.setdefault(name, {})[date] = value
    return result


def activity(tx: Transaction, times: range) -> dict[int, tuple[int, int]]:
    """Return how many workers reported in each interval, and how many of them ran a task.

    Args:
        tx: a transaction.
        times: start, end and interval, in milliseconds; the end is included.
    """
    rows = tx.execute(
        "SELECT timestamp / ? * ?, count(DISTINCT worker), count(DISTINCT iif(value > 0, worker, NULL))"
        " FROM worker_stats WHERE metric = ? AND timestamp BETWEEN ? AND ? GROUP BY 1",
        [times.step, times.step, ACTIVE, times.start, times.stop],
    )
    return {date: (total, active) for date, total, active in rows}


def prune(tx: Transaction, before: int) -> None:
    """Delete what is older than this time, in milliseconds since 1970."""
    tx.execute("DELETE FROM worker_stats WHERE timestamp < ?", [before])
