"""What the queries of events have in common: whose events, of which metrics, from where on."""

import threading
import time
from collections import OrderedDict
from typing import Any, TypeVar

from stepwise_server import limits
from stepwise_server.api.call import Call
from stepwise_server.errors import ApiError, invalid
from stepwise_server.services import Services
from stepwise_server.store import entities
from stepwise_server.store.charts import Names
from stepwise_server.store.database import Transaction

State = TypeVar("State")

MOST_SCROLLS = 10_000
"""Positions that are kept; beyond that the one that was not used for longest is forgotten."""


def owner_of(tx: Transaction, call: Call, name: str = "task") -> str:
    """Return the id of the task, or with `model_events` of the model, that a call names.

    Raises:
        ApiError: 400/11 if it names none, 400/101 or 400/201 if there is no such.
    """
    owner = call.required(name)
    entity = entities.MODEL if call.flag("model_events") else entities.TASK
    if not entities.exists(tx, entity, owner):
        raise entity.unknown(owner)
    return owner


def owners_of(tx: Transaction, call: Call) -> dict[str, str]:
    """Return the tasks, or with `model_events` the models, of a call: id and name, each once, in its order.

    Raises:
        ApiError: 400/11 if it names none, 400/101 or 400/201 if one does not exist.
    """
    return names_of(tx, call.ids("tasks"), model=call.flag("model_events"))


def names_of(tx: Transaction, ids: list[str], *, model: bool) -> dict[str, str]:
    """Return the names of tasks or models by id.

    Raises:
        ApiError: 400/101 or 400/201 if one does not exist.
    """
    entity = entities.MODEL if model else entities.TASK
    found: dict[str, str] = {}
    for each in ids:
        name = tx.value(f"SELECT name FROM {entity.table} WHERE id = ?", [each])
        if name is None:
            raise entity.unknown(each)
        found[each] = name
    return found


def names_wanted(call: Call, name: str = "metrics") -> Names:
    """Return the filter of metrics and variants of a call; an empty one is none.

    Raises:
        ApiError: 400/12 if it is none.
    """
    wanted: dict[str, set[str] | None] = {}
    for item in call.items(name):
        metric, variants = item.get("metric"), item.get("variants")
        if not isinstance(metric, str):
            raise invalid(f"{name} needs the name of a metric", value=metric)
        add_variants(wanted, metric, variants)
    return wanted or None


def add_variants(wanted: dict[str, set[str] | None], metric: str, variants: Any) -> None:
    """Add a metric with some variants, or with all if there are none, to a filter.

    Raises:
        ApiError: 400/12 if they are no list of strings.
    """
    if variants is not None and not (
        isinstance(variants, list) and all(isinstance(variant, str) for variant in variants)
    ):
        raise invalid("variants must be a list of names", metric=metric)
    if not variants or wanted.get(metric, ()) is None:
        wanted[metric] = None
    else:
        wanted[metric] = {*(wanted.get(metric) or ()), *variants}


def bounded(call: Call, name: str, default: int, most: int, least: int = 1) -> int:
    """Return a number of things that must be within bounds.

    Raises:
        ApiError: 400/12 if it is not.
    """
    value = call.integer(name)
    if value is None:
        return default
    if not least <= value <= most:
        raise invalid(f"{name} must be from {least} to {most}", value=value)
    return value


def one_of(call: Call, name: str, *choices: str) -> str:
    """Return a parameter that must be one of these; the first is the default.

    Raises:
        ApiError: 400/12 if it is another.
    """
    value = call.text(name) or choices[0]
    if value not in choices:
        raise invalid(f"{name} must be one of {', '.join(choices)}", value=value)
    return value


class EventScrolls:
    """Positions in lists of events, by scroll id; kept in memory for `limits.SCROLL_SECONDS` after each use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    @staticmethod
    def of(services: Services) -> "EventScrolls":
        """Return the positions of a server."""
        scrolls = services.state.setdefault("events.scrolls", EventScrolls())
        assert isinstance(scrolls, EventScrolls)
        return scrolls

    def find(self, scroll_id: str, kind: type[State]) -> State | None:
        """Return what was kept under an id, None if it is not of that kind or forgotten."""
        with self._lock:
            expires, state = self._open.get(scroll_id, (0.0, None))
        return state if isinstance(state, kind) and expires > time.monotonic() else None

    def required(self, scroll_id: str, kind: type[State]) -> State:
        """Return what was kept under an id.

        Raises:
            ApiError: 400/1104 if it is forgotten.
        """
        state = self.find(scroll_id, kind)
        if state is None:
            raise ApiError(400, 1104, "Invalid scroll id", scroll_id=scroll_id)
        return state

    def keep(self, state: object, scroll_id: str = "") -> str:
        """Keep a position under its id, a new one if it has none, and return the id."""
        scroll_id = scroll_id or entities.new_id()
        with self._lock:
            self._open[scroll_id] = time.monotonic() + limits.SCROLL_SECONDS, state
            self._open.move_to_end(scroll_id)
            while len(self._open) > MOST_SCROLLS:
                self._open.popitem(last=False)
        return scroll_id

    def forget(self, scroll_id: str) -> None:
        """Forget a position."""
        with self._lock:
            self._open.pop(scroll_id, None)
