"""Charts, raw points and single values of scalars."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.requests import (
    EventScrolls,
    add_variants,
    bounded,
    names_wanted,
    one_of,
    owner_of,
    owners_of,
)
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import missing
from stepwise_server.store.charts import ROWS, Axis, Curve, Series, curves, is_wanted, series_of
from stepwise_server.store.database import Transaction
from stepwise_server.store.folding import SINGLE_VALUE

KEYS = ("iter", "timestamp", "iso_time")
"""What may lie on the x axis."""


def _axis(key: str) -> Axis:
    return "iter" if key == "iter" else "timestamp"


def _x(values: Any, key: str) -> list[Any]:
    """Return values of the x axis as they are shown."""
    return [_iso(value) for value in values] if key == "iso_time" else list(values)


def _iso(milliseconds: int) -> str:
    """Return a moment as ISO text; one that no calendar has stays a number."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)
    return moment.isoformat(timespec="milliseconds")


@endpoint("events.scalar_metrics_iter_histogram")
def scalar_metrics_iter_histogram(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the curves of one task: metric: variant: name, x, y."""
    owner, key = owner_of(tx, call), one_of(call, "key", *KEYS)
    samples = bounded(call, "samples", 2000, 6000)
    found = curves(tx, series_of(tx, owner, names_wanted(call)), samples, _axis(key))
    charts: dict[str, Any] = {}
    for curve in found:
        series = curve.series
        charts.setdefault(series.metric, {})[series.variant] = _chart(curve, series.variant, key)
    return charts


def _chart(curve: Curve, name: str, key: str) -> dict[str, Any]:
    chart = {"name": name, "x": _x(curve.x, key), "y": curve.y}
    if curve.series.x_axis_label:
        chart["x_axis_label"] = curve.series.x_axis_label
    return chart


@endpoint("events.multi_task_scalar_metrics_iter_histogram")
def multi_task_scalar_metrics_iter_histogram(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the curves of several tasks: metric: variant: task: name of the task, x, y."""
    owners, key = owners_of(tx, call), one_of(call, "key", *KEYS)
    samples, names = bounded(call, "samples", 2000, 6000), names_wanted(call)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for owner, name in owners.items():
        series = series_of(tx, owner, names)
        for curve in curves(tx, series, samples, _axis(key), ROWS // len(owners)):
            variants = found.setdefault(curve.series.metric, {})
            variants.setdefault(curve.series.variant, {})[owner] = _chart(curve, name, key)
    return {"metrics": {metric: dict(sorted(variants.items())) for metric, variants in sorted(found.items())}}


@dataclass(frozen=True, slots=True)
class RawScroll:
    """A position in the points of some series: what is left, the iteration up to which the first was sent."""

    series: tuple[Series, ...]
    after: int = SINGLE_VALUE
    total: int | None = None


@endpoint("events.scalar_metrics_iter_raw")
def scalar_metrics_iter_raw(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return all points of a metric, page by page, one variant after the other."""
    owner, key = owner_of(tx, call), one_of(call, "key", *KEYS)
    batch_size = bounded(call, "batch_size", 10_000, 200_000)
    scrolls, scroll_id = EventScrolls.of(call.services), call.text("scroll_id")
    state = scrolls.required(scroll_id, RawScroll) if scroll_id else _raw_scroll(tx, call, owner)
    left, after, returned = list(state.series), state.after, 0
    variants: dict[str, dict[str, list[Any]]] = {}
    while left and returned < batch_size:
        rows = tx.execute(
            f"""SELECT iter, value, {_axis(key)} FROM scalars WHERE series = ? AND iter > ?
                ORDER BY iter LIMIT ?""",
            [left[0].id, after, batch_size - returned],
        ).fetchall()
        if rows:
            page = variants.setdefault(left[0].variant, {"y": [], key: []})
            page["y"] += [row[1] for row in rows]
            page[key] += _x([row[2] for row in rows], key)
            after, returned = rows[-1][0], returned + len(rows)
        if returned < batch_size:
            left, after = left[1:], SINGLE_VALUE
    position = RawScroll(tuple(left), after, state.total)
    answer = {"variants": variants, "returned": returned, "scroll_id": scrolls.keep(position, scroll_id)}
    return answer if state.total is None else {**answer, "total": state.total}


def _raw_scroll(tx: Transaction, call: Call, owner: str) -> RawScroll:
    """Return the start of a raw query.

    Raises:
        ApiError: 400/11 if it names no metric.
    """
    wanted, metric = call.mapping("metric"), call.mapping("metric").get("metric")
    if not isinstance(metric, str) or not metric:
        raise missing("metric.metric")
    names: dict[str, set[str] | None] = {}
    add_variants(names, metric, wanted.get("variants"))
    series = tuple(series_of(tx, owner, names))
    total = None
    if call.flag("count_total"):
        total = sum(
            tx.value("SELECT count(*) FROM scalars WHERE series = ? AND iter > ?", [each.id, SINGLE_VALUE])
            for each in series
        )
    return RawScroll(series, total=total)


@endpoint("events.get_task_single_value_metrics")
def get_task_single_value_metrics(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the values that were reported without an iteration; tasks without any are left out."""
    names, tasks = names_wanted(call), []
    for owner, task_name in owners_of(tx, call).items():
        rows = tx.execute(
            """SELECT metric, variant, scalars.value, timestamp FROM series JOIN scalars ON series = series.id
               WHERE owner = ? AND iter = ? ORDER BY metric, variant""",
            [owner, SINGLE_VALUE],
        )
        values = [
            {"metric": metric, "variant": variant, "value": value, "timestamp": timestamp}
            for metric, variant, value, timestamp in rows
            if is_wanted(names, metric, variant)
        ]
        if values:
            tasks.append({"task": owner, "task_name": task_name, "values": values})
    return {"tasks": tasks}


@endpoint("events.get_task_latest_scalar_values")
def get_task_latest_scalar_values(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the last value of each variant, the mean of its last ten, and the state of the task."""
    owner = owner_of(tx, call)
    metrics: dict[str, list[dict[str, Any]]] = {}
    latest = 0
    for series in series_of(tx, owner):
        rows = tx.execute(
            "SELECT value, timestamp FROM scalars WHERE series = ? AND iter > ? ORDER BY iter DESC LIMIT 10",
            [series.id, SINGLE_VALUE],
        ).fetchall()
        if not rows:
            continue
        latest = max(latest, rows[0][1])
        metrics.setdefault(series.metric, []).append(
            {
                "name": series.variant,
                "last_value": rows[0][0],
                "last_10_value": sum(row[0] for row in rows) / len(rows),
                "timestamp": rows[0][1],
            }
        )
    table = "models" if call.flag("model_events") else "tasks"
    status = "'' AS status" if table == "models" else "status"
    name, status, last = tx.one(
        f"SELECT name, {status}, last_iteration FROM {table} WHERE id = ?", [owner]
    ) or ("", "", 0)
    return {
        "metrics": [{"name": name, "variants": variants} for name, variants in metrics.items()],
        "name": name,
        "status": status,
        "last_iter": last,
        "last_timestamp": latest,
    }
