"""The console of a task: pages, download, clearing."""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from stepwise_server.api.call import Call, Reply
from stepwise_server.api.events.deletion import require_unlocked
from stepwise_server.api.events.requests import bounded, names_wanted, one_of, owner_of
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid
from stepwise_server.store import entities
from stepwise_server.store.charts import is_wanted
from stepwise_server.store.database import Transaction
from stepwise_server.store.logs import Line, clear, console_of, lines_after

FIELDS = ("asctime", "timestamp", "level", "worker", "msg")
"""What a line of a downloaded log may show."""

CHUNK_LINES = 2000
"""Console lines that a download reads at a time."""


def log_event(owner: str, line: Line) -> dict[str, Any]:
    """Return a console line as an event."""
    event = {
        "type": "log",
        "task": owner,
        "timestamp": line.timestamp,
        "iter": line.iteration,
        "metric": line.metric,
        "variant": line.variant,
        "level": line.level,
        "worker": line.worker,
        "msg": line.msg,
        "@timestamp": line.arrived,
    }
    return {name: value for name, value in event.items() if value is not None}


@endpoint("events.get_task_log")
def get_task_log(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return a page of the console, the newest lines or those before or after a moment.

    After `batch_size` lines all further ones of the same millisecond follow, for the next page begins after it.
    """
    owner, names = owner_of(tx, call), names_wanted(call)
    size = bounded(call, "batch_size", 5000, 200_000)
    earlier = call.flag("navigate_earlier", default=True)
    natural = "desc" if earlier else "asc"
    order = one_of(call, "order", natural, "asc", "desc")
    start = call.number("from_timestamp")
    if start is not None and not abs(start) < 1 << 62:
        raise invalid("from_timestamp is no moment", value=start)
    console = console_of(tx, owner)
    if console is None:
        return {"events": [], "returned": 0, "total": 0}
    page: list[Line] = []
    for line in lines_after(tx, console[0], start, descending=earlier):
        if len(page) >= size and line.timestamp != page[-1].timestamp:
            break
        if is_wanted(names, line.metric or "", line.variant or ""):
            page.append(line)
    if order != natural:
        page.reverse()
    return {"events": [log_event(owner, line) for line in page], "returned": len(page), "total": console[1]}


@endpoint("events.download_task_log")
def download_task_log(tx: Transaction, call: Call) -> Reply:
    """Return the whole console as a file, oldest line first: text, or a JSON array of events."""
    owner = owner_of(tx, call)
    kind = one_of(call, "line_type", "text", "json")
    template = _template(call.text("line_format", "{asctime} {worker} {level} {msg}"))
    console = console_of(tx, owner)
    lines = _stored_lines(call, console[0]) if console else iter(())
    if kind == "json":
        body, media_type = _json_array(owner, lines), "application/json"
    else:
        body = ("".join(part(line) for part in template).encode() + b"\n" for line in lines)
        media_type = "text/plain; charset=utf-8"
    return Reply(body=_joined(body), media_type=media_type, filename=f"task_{owner}.log")


def _stored_lines(call: Call, console: int) -> Iterator[Line]:
    """Yield all lines, each piece in a reading transaction of its own: the client may take long to read them."""
    position: tuple[int, int] | None = None
    while True:

        def piece(tx: Transaction, after: tuple[int, int] | None = position) -> list[Line]:
            return list(lines_after(tx, console, after, descending=False, limit=CHUNK_LINES))

        lines = call.services.database.read(piece)
        yield from lines
        if len(lines) < CHUNK_LINES:
            return
        position = lines[-1].timestamp, lines[-1].number


def _joined(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield small chunks together: each is sent on its own."""
    gathered, size = [], 0
    for chunk in chunks:
        gathered.append(chunk)
        size += len(chunk)
        if size > 1 << 16:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _json_array(owner: str, lines: Iterator[Line]) -> Iterator[bytes]:
    yield b"["
    for number, line in enumerate(lines):
        yield (b",\n" if number else b"") + msgspec.json.encode(log_event(owner, line))
    yield b"]"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line format: text, or the name of a field."""

    text: str = ""
    field: str = ""

    def __call__(self, line: Line) -> str:
        """Return what it is in a line."""
        if self.field == "asctime":
            return _asctime(line.timestamp)
        return str(getattr(line, self.field) or "") if self.field else self.text


def _asctime(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)


def _template(text: str) -> list[Part]:
    """Return the parts of a line format.

    Raises:
        ApiError: 400/12 if it is malformed, or has a field that lines have not.
    """
    parts = []
    try:
        for literal, field, spec, conversion in string.Formatter().parse(text):
            parts.append(Part(text=literal))
            if field is None:
                continue
            if field not in FIELDS or spec or conversion:
                raise invalid(f"line_format may have the fields {', '.join(FIELDS)}", field=field)
            parts.append(Part(field=field))
    except ValueError as error:
        raise invalid("line_format is malformed", reason=error) from None
    return parts


@endpoint("events.clear_task_log", writes=True)
def clear_task_log(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete console lines, all or those older than `threshold_sec`; with or without some metrics."""
    task = entities.load(tx, entities.TASK, call.required("task"))
    require_unlocked(task, call)
    seconds = bounded(call, "threshold_sec", 0, 1 << 40, least=0)
    moment = None
    if seconds:
        moment = round(datetime.fromisoformat(tx.now).timestamp() * 1000) - seconds * 1000
    include = call.texts("include_metrics") if call.given("include_metrics") else None
    return {"deleted": clear(tx, task["id"], moment, include, call.texts("exclude_metrics"))}
