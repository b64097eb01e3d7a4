"""events.debug_images, events.plots: the events of some iterations, and onwards from there."""

import json
from dataclasses import dataclass, field
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import IMAGE, PLOT
from stepwise_server.api.events.requests import EventScrolls, add_variants, bounded, names_of
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid, missing
from stepwise_server.store.charts import Names, is_wanted
from stepwise_server.store.database import Transaction
from stepwise_server.store.events import COLUMNS, Document, from_row, variants_of

LOWEST = -(1 << 63)


@dataclass(slots=True)
class SeenIterations:
    """The lowest and highest iteration that were returned of each task."""

    kind: str
    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)


@endpoint("events.debug_images")
def debug_images(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the images of some iterations of each task, newest first."""
    return _iterations(tx, call, IMAGE)


@endpoint("events.plots")
def plots(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the plots of some iterations of each task, newest first."""
    return _iterations(tx, call, PLOT)


def _iterations(tx: Transaction, call: Call, kind: str) -> dict[str, Any]:
    """Answer `debug_images` or `plots`; each task of the call is in the answer, even without events."""
    wanted = _wanted(tx, call)
    count = bounded(call, "iters", 1, 1 << 31)
    earlier = call.flag("navigate_earlier", default=True)
    scrolls, scroll_id = EventScrolls.of(call.services), call.text("scroll_id")
    seen = scrolls.find(scroll_id, SeenIterations) if scroll_id else None
    if seen is None or seen.kind != kind or call.flag("refresh"):
        seen = SeenIterations(kind)
    metrics = []
    for task, names in wanted.items():
        variants = visible_variants(tx, task, kind, names)
        window = seen.tasks.get(task)
        numbers = _numbers(tx, task, kind, variants, window, count, earlier=earlier)
        if numbers:
            low, high = window or (numbers[0], numbers[0])
            seen.tasks[task] = min(low, *numbers), max(high, *numbers)
        iterations = [
            {"iter": number, "events": events_at(tx, task, kind, variants, number)} for number in numbers
        ]
        metrics.append({"task": task, "iterations": iterations})
    return {"metrics": metrics, "scroll_id": scrolls.keep(seen, scroll_id)}


def _wanted(tx: Transaction, call: Call) -> dict[str, Names]:
    """Return the filter of metrics for each task of a call.

    Raises:
        ApiError: 400/11 if it names none, 400/101 or 400/201 if one does not exist.
    """
    if not call.given("metrics"):
        raise missing("metrics")
    filters: dict[str, dict[str, set[str] | None]] = {}
    everything: set[str] = set()
    for item in call.items("metrics"):
        task, metric = item.get("task"), item.get("metric")
        if not isinstance(task, str):
            raise missing("metrics.task")
        if metric is not None and not isinstance(metric, str):
            raise invalid("metric must be a name", value=metric)
        names = filters.setdefault(task, {})
        if metric is None:
            everything.add(task)
        else:
            add_variants(names, metric, item.get("variants"))
    names_of(tx, list(filters), model=call.flag("model_events"))
    return {task: None if task in everything else names for task, names in filters.items()}


Visible = list[tuple[str, str, int]]
"""Metric, variant and the first iteration that is shown."""


def visible_variants(tx: Transaction, owner: str, kind: str, names: Names = None) -> Visible:
    """Return the variants that have events of a type, each with the first iteration that may be shown.

    Clients overwrite image files in turn: an older event may name a file that shows a later iteration by now. So
    where the newest event's file is also that of an earlier one, what is up to the highest such one is hidden.
    """
    found = [each for each in variants_of(tx, owner, kind) if is_wanted(names, *each)]
    if kind != IMAGE:
        return [(metric, variant, LOWEST) for metric, variant in found]
    return [(metric, variant, _first_shown(tx, owner, metric, variant)) for metric, variant in found]


def _first_shown(tx: Transaction, owner: str, metric: str, variant: str) -> int:
    newest = tx.one(
        """SELECT iter, url FROM events
           WHERE owner = ? AND type = ? AND metric = ? AND variant = ? AND url IS NOT NULL
           ORDER BY iter DESC, timestamp DESC, id DESC LIMIT 1""",
        [owner, IMAGE, metric, variant],
    )
    if newest is None:
        return LOWEST
    hidden = tx.value(
        """SELECT max(iter) FROM events
           WHERE owner = ? AND type = ? AND metric = ? AND variant = ? AND iter < ? AND url = ?""",
        [owner, IMAGE, metric, variant, *newest],
    )
    return LOWEST if hidden is None else int(hidden) + 1


JOIN = """
    FROM (SELECT json_extract(value, '$[0]') AS wanted_metric, json_extract(value, '$[1]') AS wanted_variant,
                 json_extract(value, '$[2]') AS first_shown FROM json_each(?))
    JOIN events ON owner = ? AND type = ? AND metric = wanted_metric AND variant = wanted_variant
        AND iter >= first_shown"""
"""The events of visible variants; its values are `Visible` as JSON, owner, type."""


def _numbers(
    tx: Transaction,
    owner: str,
    kind: str,
    variants: Visible,
    window: tuple[int, int] | None,
    count: int,
    *,
    earlier: bool,
) -> list[int]:
    """Return the next iterations that have events, newest first.

    Args:
        tx: reads.
        owner: id of the task or model.
        kind: type of the events.
        variants: which of them.
        window: lowest and highest iteration that were returned already.
        count: so many at most.
        earlier: whether to go down from the lowest, or up from the highest.
    """
    condition, order, values = "", "DESC", [json.dumps(variants), owner, kind]
    bound: list[int] = []
    if window is not None:
        condition, order, bound = (
            ("AND iter < ?", "DESC", [window[0]]) if earlier else ("AND iter > ?", "ASC", [window[1]])
        )
    numbers: list[int] = tx.column(
        f"SELECT DISTINCT iter {JOIN} {condition} ORDER BY iter {order} LIMIT ?", [*values, *bound, count]
    )
    return sorted(numbers, reverse=True)


def events_at(tx: Transaction, owner: str, kind: str, variants: Visible, iteration: int) -> list[Document]:
    """Return the events of an iteration, one image of each variant (the last), by metric and variant."""
    rows = tx.execute(
        f"SELECT {COLUMNS} {JOIN} AND iter = ? ORDER BY metric, variant, timestamp, events.id",
        [json.dumps(variants), owner, kind, iteration],
    )
    events = [from_row(row) for row in rows]
    if kind != IMAGE:
        return events
    return list({(event["metric"], event["variant"]): event for event in events}.values())
