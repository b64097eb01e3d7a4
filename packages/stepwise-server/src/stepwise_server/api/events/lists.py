"""Which metrics and variants tasks have reported."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import SCALAR, TYPES, VECTOR
from stepwise_server.api.events.requests import owner_of, owners_of
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid, missing
from stepwise_server.store.database import Transaction
from stepwise_server.store.events import variants_of


def _kind(call: Call) -> str:
    """Return the type of event that a call asks for, "" for all.

    Raises:
        ApiError: 400/12 if there is no such type.
    """
    kind = call.text("event_type").replace(" ", "_")
    if kind in ("", "all"):
        return ""
    if kind not in TYPES:
        raise invalid("event_type is no type of events", value=kind)
    return kind


@endpoint("events.get_task_metrics")
def get_task_metrics(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the metrics of each task that have events of a type; each task is there."""
    if not call.given("event_type"):
        raise missing("event_type")
    kind = _kind(call)
    return {
        "metrics": [
            {
                "task": owner,
                "metrics": tx.column(
                    """SELECT DISTINCT metric FROM metric_stats
                       WHERE owner = ?1 AND (?2 = '' OR type = ?2) ORDER BY metric""",
                    [owner, kind],
                ),
            }
            for owner in owners_of(tx, call)
        ]
    }


@endpoint("events.get_multi_task_metrics")
def get_multi_task_metrics(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the metrics and variants that any of the tasks has, sorted."""
    kind = _kind(call)
    found: dict[str, set[str]] = {}
    for owner in owners_of(tx, call):
        names = _scalars(tx, owner) if kind in ("", SCALAR) else []
        for each in TYPES - {SCALAR} if not kind else {kind} - {SCALAR}:
            names += variants_of(tx, owner, each)
        for metric, variant in names:
            found.setdefault(metric, set()).add(variant)
    return {
        "metrics": [
            {"metric": metric, "variants": sorted(variants)} for metric, variants in sorted(found.items())
        ]
    }


@endpoint("events.get_scalar_metrics_and_variants")
def get_scalar_metrics_and_variants(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the scalars of a task: metric: variants."""
    return {"metrics": _by_metric(_scalars(tx, owner_of(tx, call)))}


@endpoint("events.get_vector_metrics_and_variants")
def get_vector_metrics_and_variants(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the vectors of a task: a list, as the SDK's class of this answer demands, unlike that for scalars."""
    found = _by_metric(variants_of(tx, owner_of(tx, call), VECTOR))
    return {"metrics": [{"metric": metric, "variants": variants} for metric, variants in found.items()]}


def _scalars(tx: Transaction, owner: str) -> list[tuple[str, str]]:
    return tx.execute(
        "SELECT metric, variant FROM series WHERE owner = ? ORDER BY metric, variant", [owner]
    ).fetchall()


def _by_metric(names: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for metric, variant in names:
        found.setdefault(metric, []).append(variant)
    return found
