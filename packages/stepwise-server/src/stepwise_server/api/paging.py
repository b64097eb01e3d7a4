"""Which rows of a result a call wants: a page, a part, or the next part of a scroll."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from stepwise_server import limits
from stepwise_server.api.call import Call
from stepwise_server.errors import invalid
from stepwise_server.services import Services
from stepwise_server.store.entities import new_id
from stepwise_server.store.query.selection import Window

MOST_SCROLLS = 10_000
"""Scroll positions that are kept; beyond that the one that was not used for longest is forgotten."""


@dataclass(slots=True)
class Scroll:
    """A position in a result.

    Attributes:
        id: what the client sends back.
        position: rows that were sent.
        expires: when it is forgotten, on the monotonic clock.
    """

    id: str
    position: int = 0
    expires: float = 0.0


class Scrolls:
    """The open scrolls of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Scroll] = OrderedDict()

    @staticmethod
    def of(services: Services) -> "Scrolls":
        """Return the scrolls of a server."""
        scrolls = services.state.setdefault("scrolls", Scrolls())
        assert isinstance(scrolls, Scrolls)
        return scrolls

    def find(self, scroll_id: str) -> Scroll:
        """Return a scroll; a new one, with another id, if this one is unknown or was forgotten."""
        with self._lock:
            scroll = self._open.get(scroll_id)
            if scroll is None or scroll.expires < time.monotonic():
                return Scroll(new_id())
            return Scroll(scroll.id, scroll.position)

    def keep(self, scroll: Scroll) -> None:
        """Remember a position."""
        scroll.expires = time.monotonic() + limits.SCROLL_SECONDS
        with self._lock:
            self._open[scroll.id] = scroll
            self._open.move_to_end(scroll.id)
            while len(self._open) > MOST_SCROLLS:
                self._open.popitem(last=False)


@dataclass(slots=True)
class Pager:
    """How a call walks through a result.

    Attributes:
        window: the rows that it wants.
        scroll: the position behind it, if it scrolls.
        scrolls: where positions are kept.
    """

    window: Window
    scroll: Scroll | None
    scrolls: Scrolls

    def sent(self, rows: int) -> dict[str, str]:
        """Note how many rows there were; return what the answer says about the scroll."""
        if self.scroll is None:
            return {}
        self.scroll.position = max(self.scroll.position, self.window.start + rows)
        self.scrolls.keep(self.scroll)
        return {"scroll_id": self.scroll.id}


def pager(call: Call) -> Pager:
    """Return how this call walks through the result: `scroll_id` comes first, then `start`, then `page`.

    Raises:
        ApiError: 400/12 for a negative page or a size below 1.
    """
    scrolls = Scrolls.of(call.services)
    if "scroll_id" in call.params:
        size = _size(call)
        scroll = scrolls.find(call.text("scroll_id"))
        if call.flag("refresh_scroll"):
            return Pager(Window(max(size, scroll.position)), scroll, scrolls)
        return Pager(Window(size, scroll.position), scroll, scrolls)
    if call.given("start") or call.given("size"):
        start = call.integer("start", 0) or 0
        if start < 0:
            raise invalid("start is negative", start=start)
        return Pager(Window(_size(call), start), None, scrolls)
    page = call.integer("page", 0) or 0
    rows = call.integer("page_size", limits.PAGE_ROWS)
    if page < 0 or rows is None or rows < 1:
        raise invalid("page starts with 0, page_size with 1", page=page, page_size=rows)
    rows = min(rows, limits.PAGE_ROWS)
    return Pager(Window(rows, page * rows), None, scrolls)


def _size(call: Call) -> int:
    size = call.integer("size")
    if size is None or size < 1:
        raise invalid("size is a number of rows from 1 on", size=size)
    return size
