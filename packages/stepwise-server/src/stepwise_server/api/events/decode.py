"""From the lines of a batch to what is stored, without the database: this runs outside the writing thread.

Nearly all events are scalars. Those are decoded into a typed structure and go straight to their group; whatever is
not as expected (a number in quotes, an older name of a field, no JSON at all) is looked at again, slowly.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from stepwise_server import clock
from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import IMAGE, LOG, PLOT, SCALAR, TYPES, VECTOR, Batch
from stepwise_server.errors import ApiError
from stepwise_server.store.events import NewEvent
from stepwise_server.store.scalars import summarized

MONITORS = frozenset({":monitor:machine", ":monitor:gpu"})
"""Metrics of the machine; their iterations are seconds and do not count for `last_iteration`."""

NOT_KEPT = frozenset(
    [
        "allow_locked",
        "method",
        "x_axis_label",
        "model",
        "ts",
        "values",
        "type",
        "task",
        "metric",
        "variant",
        "iter",
        "key",
        "timestamp",
        "url",
    ]
)
"""Members of events that their document does not hold: instructions, older names, and what has a column."""

INTEGERS = range(-(1 << 63), 1 << 63)
OUT_OF_RANGE = "iter and timestamp must be whole numbers of 64 bits"


class Event(msgspec.Struct, gc=False):
    """The members of an event that decide what becomes of it."""

    type: str | None = None
    task: str | None = None
    model: str | None = None
    iter: int | None = None
    metric: str | None = None
    variant: str | None = None
    value: float | None = None
    timestamp: int | None = None
    ts: int | None = None
    allow_locked: bool | None = None
    model_event: bool | None = None
    x_axis_label: str | None = None
    worker: str | None = None
    level: str | None = None
    msg: str | None = None
    key: str | None = None
    url: str | None = None
    plot_str: str | None = None


class Refused(Exception):
    """An event that cannot be stored; the reason is for the client."""


def decode_batch(call: Call) -> Batch:
    """Return the events of a batch call, grouped by whose they are and which metric they belong to.

    Raises:
        ApiError: 400/17 if there are none, 400/12 if the batch contradicts itself.
    """
    if not call.batch:
        raise ApiError(400, 17, "Batch contains no items")
    return decode_lines(call.batch, call.worker)


def decode_lines(lines: Sequence[bytes], worker: str) -> Batch:
    """Return the events of these lines; see `decode_batch`.

    Args:
        lines: one JSON object each.
        worker: name of the sender, for events that have none.
    """
    batch = Batch()
    scalars: dict[tuple[str, str, str, bool, bool], list[tuple[int, float, int]]] = {}
    labels: dict[tuple[str, str, str, bool, bool], str] = {}
    now = int(time.time() * 1000)
    decode = msgspec.json.Decoder(Event).decode
    for line in _objects(lines):
        try:
            try:
                event = decode(line)
            except (ValueError, RecursionError):
                event = _loosely(line)
            if event.type != SCALAR:
                if event.type and " " in event.type:
                    event = _loosely(line)
                if event.type != SCALAR:
                    _add_other(batch, event, line, worker, now)
                    continue
            if (value := event.value) is None:
                value = _loosely(line).value
            if value is None or not math.isfinite(value):
                raise Refused("a scalar needs a value, a finite number")
            owner, model = _owner(event)
            key = (owner, event.metric or "", event.variant or "", model, bool(event.allow_locked))
            rows = scalars.get(key)
            if rows is None:
                rows = scalars[key] = []
            moment = event.timestamp
            if moment is None:
                moment = now if event.ts is None else event.ts
            rows.append((event.iter or 0, value, moment))
            if event.x_axis_label:
                labels[key] = event.x_axis_label
        except Refused as reason:
            batch.refuse(str(reason))
    for key, rows in scalars.items():
        _add_scalars(batch, key, rows, labels.get(key))
    return batch


def _objects(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return the lines, or all as one if they are a single JSON object over several lines."""
    if len(lines) > 1 and not lines[0].rstrip().endswith(b"}"):
        whole = b"\n".join(lines)
        with contextlib.suppress(Refused):
            _document(whole)
            return [whole]
    return lines


def _owner(event: Event) -> tuple[str, bool]:
    """Return whose event it is, and whether that is a model."""
    model = bool(event.model_event)
    owner = (event.model or event.task) if model else event.task
    if not owner:
        raise Refused("an event needs a task, or a model with model_event")
    return owner, model


def _add_scalars(
    batch: Batch,
    key: tuple[str, str, str, bool, bool],
    rows: list[tuple[int, float, int]],
    label: str | None,
) -> None:
    """Put the points of one metric and variant into their report."""
    owner, metric, variant, model, allow_locked = key
    report = batch.report_for(owner, model=model, allow_locked=allow_locked)
    points = summarized(metric, variant, rows)
    extremes = [each(numbers) for each in (min, max) for numbers in (points.iterations, points.timestamps)]
    if not all(_in_range(number) for number in extremes):
        kept = [row for row in rows if _in_range(row[0]) and _in_range(row[2])]
        batch.refuse(OUT_OF_RANGE, len(rows) - len(kept))
        if not kept:
            return
        points = summarized(metric, variant, kept)
    points.x_axis_label = label
    report.points.append(points)
    report.metrics.add((metric, SCALAR))
    report.count += len(points.values)
    if metric not in MONITORS:
        report.last_iteration = max(report.last_iteration, *points.iterations, 0)


def _in_range(number: int) -> bool:
    return number in INTEGERS


def _add_other(batch: Batch, event: Event, line: bytes, worker: str, now: int) -> None:
    """Put an event that is no scalar into its report."""
    if not event.type:
        raise Refused("an event needs a type")
    if event.type not in TYPES:
        raise Refused(f"unknown event type {event.type[:60]}")
    owner, model = _owner(event)
    iteration = event.iter or 0
    moment = event.timestamp
    if moment is None:
        moment = now if event.ts is None else event.ts
    if not (_in_range(iteration) and _in_range(moment)):
        raise Refused(OUT_OF_RANGE)
    metric = event.metric or ""
    if event.type == LOG:
        if model:
            raise Refused("a model has no log")
        if event.msg is None:
            raise Refused("a log event needs msg")
        report = batch.report_for(owner, model=model, allow_locked=bool(event.allow_locked))
        row = (
            moment,
            event.iter,
            event.metric,
            event.variant,
            event.level,
            event.worker or worker,
            event.msg,
        )
        report.lines.append(row)
    else:
        new = _new_event(event, _document(line), worker, moment)
        report = batch.report_for(owner, model=model, allow_locked=bool(event.allow_locked))
        report.events.append(new)
    report.count += 1
    report.metrics.add((metric, event.type))
    if metric not in MONITORS:
        report.last_iteration = max(report.last_iteration, iteration)


def _new_event(event: Event, document: dict[str, Any], worker: str, moment: int) -> NewEvent:
    """Return a plot, image or vector as it is stored.

    Raises:
        Refused: if it lacks what such an event consists of.
    """
    source_urls: list[str] = []
    if event.type == IMAGE and not event.url:
        raise Refused("an image event needs a url")
    if event.type == PLOT:
        if event.plot_str is None:
            raise Refused("a plot needs plot_str")
        document["plot_len"] = len(event.plot_str)
        source_urls = sorted(set(_picture_urls(event.plot_str)))
        if source_urls:
            document["source_urls"] = source_urls
    if event.type == VECTOR:
        values = document.get("value", document.get("values"))
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            raise Refused("a vector needs values, a list of numbers")
        document["value"] = values
    document["worker"] = event.worker or worker or None
    document["@timestamp"] = clock.now()
    kept = {name: value for name, value in document.items() if name not in NOT_KEPT and value is not None}
    return NewEvent(
        type=event.type or "",
        metric=event.metric or "",
        variant=event.variant or "",
        iteration=event.iter or 0,
        key=event.key or "",
        timestamp=moment,
        url=event.url,
        source_urls=source_urls,
        document=kept,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Image(msgspec.Struct):
    source: Any = None


class _Layout(msgspec.Struct):
    images: list[_Image] | None = None


class _Figure(msgspec.Struct):
    layout: _Layout | None = None
    data: list[_Image] | None = None


def _picture_urls(plot: str) -> Iterator[str]:
    """Yield the addresses of pictures that a plotly figure shows; nothing if it is no figure."""
    if '"source"' not in plot:
        return
    try:
        figure = msgspec.json.decode(plot, type=_Figure)
    except (ValueError, RecursionError):
        return
    for image in [*((figure.layout and figure.layout.images) or []), *(figure.data or [])]:
        if isinstance(image.source, str) and not image.source.startswith("data:"):
            yield image.source


def _document(line: bytes) -> dict[str, Any]:
    """Return a line as the object that it is.

    Raises:
        Refused: if it is none.
    """
    try:
        decoded = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not valid JSON ({str(error)[:80]})") from None
    if not isinstance(decoded, dict):
        raise Refused("an event must be a JSON object")
    return decoded


def _loosely(line: bytes) -> Event:
    """Return an event with older names of fields and other types of numbers put right.

    Raises:
        Refused: if that is not possible.
    """
    document = {name: value for name, value in _document(line).items() if value is not None}
    if "ts" in document:
        document.setdefault("timestamp", document.pop("ts"))
    kind = document.get("type")
    if isinstance(kind, str):
        document["type"] = kind = kind.replace(" ", "_")
    if kind == SCALAR and "values" in document:
        document.setdefault("value", document["values"])
    elif kind != SCALAR:
        document.pop("value", None)
    for name in ("iter", "timestamp"):
        if name in document:
            document[name] = _whole(document[name], name)
    for name in ("level", "worker", "key"):
        if name in document:
            document[name] = str(document[name])
    try:
        return msgspec.convert(document, Event, strict=True)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)[:120]) from None


def _whole(value: Any, name: str) -> int:
    """Return a whole number given as any number, or as text."""
    try:
        if isinstance(value, str) or (_is_number(value) and math.isfinite(value)):
            return int(value)
    except ValueError:
        pass
    raise Refused(f"{name} is no whole number")
