"""workers.get_activity_report, get_stats, get_metric_keys: what workers did over time."""

from typing import Any, cast, get_args

from stepwise_server import limits
from stepwise_server.api.call import Call
from stepwise_server.api.common.times import requested_times
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid, missing
from stepwise_server.store import worker_stats
from stepwise_server.store.database import Transaction
from stepwise_server.store.worker_stats import Aggregation

Data = dict[str, Any]


@endpoint("workers.get_activity_report")
def get_activity_report(tx: Transaction, call: Call) -> Data:
    """Answer how many workers reported, and how many of them ran a task, in each interval."""
    times = requested_times(call)
    first, last = times.start // times.step, times.stop // times.step
    if last - first >= limits.STATS_POINTS:
        raise invalid("there are too many intervals", intervals=last - first, limit=limits.STATS_POINTS)
    known = worker_stats.activity(tx, times)
    dates = [number * times.step for number in range(first, last + 1)]
    counts = [known.get(date, (0, 0)) for date in dates]
    return {
        "total": {"dates": dates, "counts": [total for total, _ in counts]},
        "active": {"dates": dates, "counts": [active for _, active in counts]},
    }


@endpoint("workers.get_metric_keys")
def get_metric_keys(tx: Transaction, call: Call) -> Data:
    """List the metrics that workers reported, by category."""
    found = worker_stats.keys(tx, call.texts("worker_ids") or worker_stats.workers(tx))
    return {"categories": [{"name": name, "metric_keys": metrics} for name, metrics in found.items()]}


@endpoint("workers.get_stats")
def get_stats(tx: Transaction, call: Call) -> Data:
    """Answer the asked metrics of workers over time; intervals without a report are left out."""
    times = requested_times(call)
    wanted = _wanted(call)
    split = call.flag("split_by_variant")
    result = []
    for worker in call.texts("worker_ids") or worker_stats.workers(tx):
        metrics = [
            each
            for metric, aggregations in wanted.items()
            for each in _metric(tx, metric, worker, aggregations, times, split=split)
        ]
        result.append({"worker": worker, "metrics": metrics})
    return {"workers": result}


def _wanted(call: Call) -> dict[str, list[Aggregation]]:
    """Return the aggregations that the call asks for, by metric."""
    if not call.given("items"):
        raise missing("items")
    known = {metric for category in worker_stats.METRICS.values() for metric in category}
    wanted: dict[str, list[Aggregation]] = {}
    for item in call.items("items"):
        metric = item.get("key")
        aggregation = item.get("aggregation") or item.get("category") or "avg"
        if not isinstance(metric, str) or metric not in known:
            raise invalid("unknown metric", key=metric)
        if aggregation not in get_args(Aggregation):
            raise invalid("unknown aggregation", aggregation=aggregation)
        if aggregation not in wanted.setdefault(metric, []):
            wanted[metric].append(cast("Aggregation", aggregation))
    return wanted


def _metric(
    tx: Transaction, metric: str, worker: str, aggregations: list[Aggregation], times: range, *, split: bool
) -> list[Data]:
    """Return a metric of a worker with all its aggregations, one entry for each variant."""
    found = {
        aggregation: worker_stats.series(tx, metric, worker, aggregation, times, split=split)
        for aggregation in aggregations
    }
    result = []
    for variant in found[aggregations[0]]:
        dates = list(found[aggregations[0]][variant])
        stats = [
            {"aggregation": aggregation, "dates": dates, "values": list(found[aggregation][variant].values())}
            for aggregation in aggregations
        ]
        shown: Data = {"metric": metric, "dates": dates, "stats": stats}
        result.append({**shown, "variant": variant} if split else shown)
    return result
