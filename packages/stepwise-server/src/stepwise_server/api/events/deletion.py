"""events.delete_for_task, delete_for_model, clear_scroll."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.requests import EventScrolls
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.metrics import delete_events

LOCKED = ("publishing", "published")
"""The events of a task with such a status change only with `allow_locked`."""


def require_unlocked(task: entities.Document, call: Call) -> None:
    """Check that the events of a task may change.

    Raises:
        ApiError: 400/101 if it is published and `allow_locked` is not set.
    """
    if task["status"] in LOCKED and not call.flag("allow_locked"):
        raise ApiError(400, 101, "Cannot update events of a published task", id=task["id"])


@endpoint("events.delete_for_task", writes=True)
def delete_for_task(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete all events of a task."""
    task = entities.load(tx, entities.TASK, call.required("task"))
    require_unlocked(task, call)
    delete_events(tx, task["id"])
    return {"deleted": True}


@endpoint("events.delete_for_model", writes=True)
def delete_for_model(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete all events of a model."""
    model = entities.load(tx, entities.MODEL, call.required("model"))
    if model.get("ready") and not call.flag("allow_locked"):
        raise ApiError(400, 201, "Cannot update events of a published model", id=model["id"])
    delete_events(tx, model["id"])
    return {"deleted": True}


@endpoint("events.clear_scroll")
def clear_scroll(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Forget a position in a list of events."""
    EventScrolls.of(call.services).forget(call.required("scroll_id"))
    return {}
