"""events.get_task_events, get_scalar_metric_data: events as they were reported, page by page."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import LOG, SCALAR
from stepwise_server.api.events.logs import log_event
from stepwise_server.api.events.requests import EventScrolls, bounded, names_wanted, one_of, owner_of
from stepwise_server.api.registry import endpoint
from stepwise_server.store.charts import Names, is_wanted
from stepwise_server.store.database import Transaction
from stepwise_server.store.events import COLUMNS, from_row
from stepwise_server.store.logs import console_of, lines_after

Position = tuple[int, int, int]
"""Where an event stands: iteration, 0 for scalars and 1 for others, id of its series or its own; of a console
line: timestamp, 2, number. Lists are in this order, the console after all others."""

Placed = tuple[Position, dict[str, Any]]

ALL_TYPES = ("", "all")


@dataclass(slots=True)
class EventScroll:
    """A position in a list of events.

    Attributes:
        owner: whose events.
        kind: their type, "" for all.
        names: their metrics.
        descending: newest first.
        total: how many there were when it was opened; None if nobody wants to know.
        sent: how many of them have been returned.
        after: the last of them.
    """

    owner: str
    kind: str
    names: Names
    descending: bool
    total: int | None = None
    sent: int = 0
    after: Position | None = None


@endpoint("events.get_task_events")
def get_task_events(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return a page of all events, or those of one type, by iteration (console: by time)."""
    owner, scrolls, scroll_id = owner_of(tx, call), EventScrolls.of(call.services), call.text("scroll_id")
    size = bounded(call, "batch_size", 500, 200_000)
    if scroll_id:
        scroll = scrolls.required(scroll_id, EventScroll)
    else:
        kind = call.text("event_type").replace(" ", "_")
        kind = "" if kind in ALL_TYPES else kind
        scroll = EventScroll(owner, kind, names_wanted(call), one_of(call, "order", "asc", "desc") == "desc")
        scroll.total = _count(tx, scroll) if call.flag("count_total", default=True) else None
    return _page(tx, scrolls, scroll, size, scroll_id)


@endpoint("events.get_scalar_metric_data")
def get_scalar_metric_data(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return a page of the points of one metric, as events."""
    owner, scrolls, scroll_id = owner_of(tx, call), EventScrolls.of(call.services), call.text("scroll_id")
    if scroll_id:
        scroll = scrolls.required(scroll_id, EventScroll)
    else:
        scroll = EventScroll(owner, SCALAR, {call.required("metric"): None}, descending=False)
        scroll.total = _count(tx, scroll)
    return _page(tx, scrolls, scroll, 10_000, scroll_id)


def _page(
    tx: Transaction, scrolls: EventScrolls, scroll: EventScroll, size: int, scroll_id: str
) -> dict[str, Any]:
    """Return the next page of a scroll, and note that it was sent.

    The SDK asks until it has counted to the first `total`, and for ever if that never comes. So later events are
    not sent beyond it, and where events were deleted in between, the last page is counted as if they had come.
    """
    left = size if scroll.total is None else min(size, scroll.total - scroll.sent)
    placed = list(islice(_events(tx, scroll), left)) if left > 0 else []
    returned = len(placed)
    if not placed and scroll.total is not None:
        returned = scroll.total - scroll.sent
    scroll.sent += returned
    if placed:
        scroll.after = placed[-1][0]
    answer = {
        "events": [event for _, event in placed],
        "returned": returned,
        "scroll_id": scrolls.keep(scroll, scroll_id),
    }
    return answer if scroll.total is None else {**answer, "total": scroll.total}


def _count(tx: Transaction, scroll: EventScroll) -> int:
    """Return how many events a scroll has before it."""
    total = 0
    if scroll.kind in ("", SCALAR):
        for series, _, _ in _series(tx, scroll):
            total += tx.value("SELECT count(*) FROM scalars WHERE series = ?", [series])
    if scroll.kind in ("", LOG) and (console := console_of(tx, scroll.owner)):
        if scroll.names is None:
            total += console[1]
        else:
            total += sum(1 for _ in _lines(tx, scroll))
    rows = tx.execute(
        """SELECT metric, variant, count(*) FROM events WHERE owner = ?1 AND (?2 = '' OR type = ?2)
           GROUP BY metric, variant""",
        [scroll.owner, scroll.kind],
    )
    for metric, variant, count in rows:
        if is_wanted(scroll.names, metric, variant):
            total += count
    return total


def _events(tx: Transaction, scroll: EventScroll) -> Iterator[Placed]:
    """Yield the events after a scroll's position, in its order."""
    by_iteration = heapq.merge(
        *_scalars(tx, scroll), _others(tx, scroll), key=lambda placed: placed[0], reverse=scroll.descending
    )
    in_console = scroll.after is not None and scroll.after[1] == 2
    lines = _lines(tx, scroll) if scroll.kind in ("", LOG) else iter(())
    if scroll.descending:  # the console comes first then
        return chain(lines if in_console or scroll.after is None else iter(()), by_iteration)
    return chain(iter(()) if in_console else by_iteration, lines)


def _bounds(scroll: EventScroll) -> tuple[str, str]:
    """Return how a column is compared to the position, and the order of rows."""
    return ("<", "DESC") if scroll.descending else (">", "ASC")


def _series(tx: Transaction, scroll: EventScroll) -> list[tuple[int, str, str]]:
    """Return id, metric and variant of the series that a scroll goes through."""
    rows = tx.execute("SELECT id, metric, variant FROM series WHERE owner = ? ORDER BY id", [scroll.owner])
    return [row for row in rows.fetchall() if is_wanted(scroll.names, row[1], row[2])]


def _scalars(tx: Transaction, scroll: EventScroll) -> list[Iterator[Placed]]:
    """Return the points of each series, read as they are asked for."""
    if scroll.kind not in ("", SCALAR):
        return []
    sign, order = _bounds(scroll)
    after = None if scroll.after is None or scroll.after[1] == 2 else scroll.after

    def points(series: int, metric: str, variant: str) -> Iterator[Placed]:
        condition, values = "", [series]
        if after is not None:
            # A series that comes later in the order may have a point at the same iteration still to send.
            later = (0, series) < after[1:] if scroll.descending else (0, series) > after[1:]
            condition = f"AND iter {sign}{'=' if later else ''} ?"
            values.append(after[0])
        rows = tx.execute(
            f"SELECT iter, value, timestamp FROM scalars WHERE series = ? {condition} ORDER BY iter {order}",
            values,
        )
        for iteration, value, timestamp in rows:
            event = {
                "type": SCALAR,
                "task": scroll.owner,
                "metric": metric,
                "variant": variant,
                "iter": iteration,
                "value": value,
                "timestamp": timestamp,
            }
            yield (iteration, 0, series), event

    return [points(*each) for each in _series(tx, scroll)]


def _others(tx: Transaction, scroll: EventScroll) -> Iterator[Placed]:
    """Yield plots, images and vectors."""
    if scroll.kind in (SCALAR, LOG):
        return
    sign, order = _bounds(scroll)
    conditions, values = ["owner = ?"], [scroll.owner]
    if scroll.kind:
        conditions.append("type = ?")
        values.append(scroll.kind)
    after: tuple[int, ...] = scroll.after if scroll.after and scroll.after[1] != 2 else ()
    if after:
        conditions.append(f"iter {sign}= ? AND (iter, 1, id) {sign} (?, ?, ?)")
    rows = tx.execute(
        f"""SELECT id, {COLUMNS} FROM events WHERE {" AND ".join(conditions)}
            ORDER BY iter {order}, id {order}""",
        [*values, *after[:1], *after],
    )
    for row in rows:
        if is_wanted(scroll.names, row[3], row[4]):
            yield (row[5], 1, row[0]), from_row(row[1:])


def _lines(tx: Transaction, scroll: EventScroll) -> Iterator[Placed]:
    """Yield console lines."""
    console = console_of(tx, scroll.owner)
    if console is None:
        return
    after = scroll.after
    start = (after[0], after[2]) if after is not None and after[1] == 2 else None
    for line in lines_after(tx, console[0], start, descending=scroll.descending):
        if is_wanted(scroll.names, line.metric or "", line.variant or ""):
            yield (line.timestamp, 2, line.number), log_event(scroll.owner, line)
