"""Scalars, plots, images and console of a task."""

import json
from collections.abc import Iterator
from typing import Any

from stepwise_server import limits
from stepwise_server.export.client import Remote
from stepwise_server.export.files import FileMover

REPLACED = ("training_stats_scalar", "training_stats_vector", "training_debug_image", "plot")
"""Types of which a second event with the same metric, variant and iteration replaces the first."""

KEPT = ("task", "type", "timestamp", "iter", "metric", "variant", "value", "values", "msg", "level", "worker",
        "url", "key", "plot_str", "model_event")  # fmt: skip
"""Members of an event that are sent on; the others are the server's own."""


def move_events(mover: FileMover, source_id: str, target_id: str, *, model: bool = False) -> int:
    """Send all events of a task or model, and return how many the target got.

    What was sent before is replaced by the same, and console lines that the target has are left out, so this
    can be repeated after an interruption.
    """
    sent = 0
    for kind in REPLACED:
        sent += _send(mover, _events(mover.source, source_id, kind, model=model), target_id)
    if not model:
        there = mover.target.call("events.get_task_log", task=target_id, batch_size=1)["total"]
        sent += _send(mover, _events(mover.source, source_id, "log", skip=there), target_id)
    return sent


def _events(
    source: Remote, owner: str, kind: str, *, model: bool = False, skip: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the events of one type, oldest first, without the first `skip`."""
    scroll, seen = None, 0
    while True:
        page = source.call(
            "events.get_task_events",
            task=owner,
            event_type=kind,
            order="asc",
            batch_size=limits.EXPORT_EVENTS,
            scroll_id=scroll,
            model_events=model,
        )
        if not page["events"]:
            return
        for event in page["events"]:
            seen += 1
            if seen > skip:
                yield event
        scroll = page["scroll_id"]


def _send(mover: FileMover, events: Iterator[dict[str, Any]], owner: str) -> int:
    """Send events in batches that the official server takes."""
    batch: list[dict[str, Any]] = []
    size = sent = 0
    for event in events:
        event = {name: event[name] for name in KEPT if event.get(name) is not None}
        event["task"] = owner
        event["allow_locked"] = True  # the task may be published already, when an export is repeated
        if "url" in event:
            event["url"] = mover.move(event["url"])
        if "plot_str" in event:
            event["plot_str"] = _with_moved_images(mover, event["plot_str"])
        batch.append(event)
        size += len(event.get("plot_str", "")) + len(event.get("msg", "")) + 200
        if len(batch) >= limits.EXPORT_EVENTS or size >= limits.EXPORT_BYTES:
            sent += mover.target.report(batch)["added"]
            batch, size = [], 0
    if batch:
        sent += mover.target.report(batch)["added"]
    return sent


def _with_moved_images(mover: FileMover, plot: str) -> str:
    """Return a figure whose pictures lie on the target."""
    if mover.source.files_url not in plot:
        return plot

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(each) for key, each in value.items()}
        if isinstance(value, list):
            return [moved(each) for each in value]
        return mover.move(value) if isinstance(value, str) and mover.source.owns(value) else value

    return json.dumps(moved(json.loads(plot)))
