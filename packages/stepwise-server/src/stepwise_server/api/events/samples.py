"""One image or plot in full size, and from it to the next.

The places that one can go to are pairs of iteration and name: of the variant for images, of the metric for plots
(all plots of a metric at one iteration are shown together).
"""

import json
from dataclasses import dataclass
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import IMAGE, PLOT
from stepwise_server.api.events.images import JOIN, Visible, events_at, visible_variants
from stepwise_server.api.events.requests import EventScrolls, owner_of
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import missing
from stepwise_server.store.database import Transaction

Name = tuple[str, ...]
"""Metric and variant of an image; metric of a plot."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is looked at.

    Attributes:
        kind: type of the events.
        metric: whose events can be gone to; None for those of all metrics.
        iteration: of the sample.
        name: of the sample.
    """

    kind: str
    metric: str | None
    iteration: int
    name: Name


@endpoint("events.get_debug_image_sample")
def get_debug_image_sample(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the image of a metric and variant at an iteration, the newest by default."""
    if not call.given("variant"):
        raise missing("variant")
    return _first(tx, call, IMAGE, (_metric(call), call.text("variant")))


@endpoint("events.get_plot_sample")
def get_plot_sample(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the plots of a metric at an iteration, the newest by default."""
    return _first(tx, call, PLOT, (_metric(call),))


@endpoint("events.next_debug_image_sample")
def next_debug_image_sample(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the image of the next variant of the iteration, or of the next iteration; or the one before."""
    return _next(tx, call, IMAGE)


@endpoint("events.next_plot_sample")
def next_plot_sample(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the plots of the next metric of the iteration, or of the next iteration; or those before."""
    return _next(tx, call, PLOT)


def _metric(call: Call) -> str:
    if not call.given("metric"):
        raise missing("metric")
    return call.text("metric")


def _first(tx: Transaction, call: Call, kind: str, name: Name) -> dict[str, Any]:
    """Answer a call that names the sample."""
    owner = owner_of(tx, call)
    metric = name[0] if call.flag("navigate_current_metric", default=True) else None
    iteration = call.integer("iteration")
    numbers = sorted(
        {number for number, each in _places(tx, owner, kind, name[0]) if each == name}, reverse=True
    )
    if iteration is not None:
        numbers = [number for number in numbers if number <= iteration]
    if not numbers:
        return _answer(tx, call, owner, Place(kind, metric, iteration or 0, name), found=False)
    return _answer(tx, call, owner, Place(kind, metric, numbers[0], name), found=True)


def _next(tx: Transaction, call: Call, kind: str) -> dict[str, Any]:
    """Answer a call that goes on from the last sample.

    Raises:
        ApiError: 400/1104 if there was none.
    """
    owner = owner_of(tx, call)
    place = EventScrolls.of(call.services).required(call.required("scroll_id"), Place)
    here = place.iteration, place.name
    places = sorted(_places(tx, owner, kind, place.metric))
    if call.flag("next_iteration"):
        places = [each for each in places if each[1] == place.name and each[0] != place.iteration]
    if call.flag("navigate_earlier", default=True):
        following = [each for each in places if each < here][-1:]
    else:
        following = [each for each in places if each > here][:1]
    if not following:
        return _answer(tx, call, owner, place, found=False)
    place = Place(kind, place.metric, *following[0])
    return _answer(tx, call, owner, place, found=True)


def _visible(tx: Transaction, owner: str, kind: str, metric: str | None) -> Visible:
    return visible_variants(tx, owner, kind, None if metric is None else {metric: None})


def _places(tx: Transaction, owner: str, kind: str, metric: str | None) -> set[tuple[int, Name]]:
    """Return all iterations and names that can be gone to."""
    rows = tx.execute(
        f"SELECT DISTINCT iter, metric, variant {JOIN}",
        [json.dumps(_visible(tx, owner, kind, metric)), owner, kind],
    )
    return {(row[0], row[1:] if kind == IMAGE else row[1:2]) for row in rows}


def _answer(tx: Transaction, call: Call, owner: str, place: Place, *, found: bool) -> dict[str, Any]:
    """Return the sample at a place, if there is one, and keep the place."""
    variants = _visible(tx, owner, place.kind, place.name[0])
    if place.kind == IMAGE:
        variants = [each for each in variants if each[1] == place.name[1]]
    lowest, highest = tx.one(
        f"SELECT min(iter), max(iter) {JOIN}", [json.dumps(variants), owner, place.kind]
    ) or (None, None)
    events = events_at(tx, owner, place.kind, variants, place.iteration) if found else []
    shown = {"event": events[0] if events else None} if place.kind == IMAGE else {"events": events}
    scroll_id = EventScrolls.of(call.services).keep(place, call.text("scroll_id"))
    return {"scroll_id": scroll_id, "min_iteration": lowest, "max_iteration": highest, **shown}
