"""tasks.create, tasks.validate."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import read_changes
from stepwise_server.errors import missing
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document


@endpoint("tasks.create", writes=True)
def create(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add a draft."""
    return {"id": insert_task(tx, call, _read(tx, call))}


@endpoint("tasks.validate")
def validate(tx: Transaction, call: Call) -> dict[str, Any]:
    """Check what `tasks.create` would check."""
    _read(tx, call)
    return {}


def _read(tx: Transaction, call: Call) -> Document:
    for field in ("name", "type"):
        if not call.given(field):
            raise missing(field)
    given = read_changes(tx, call, dict(entities.TASK.defaults))
    return {**given, "status_message": call.text("status_message")}


def insert_task(tx: Transaction, call: Call, document: Document) -> str:
    """Add a draft with these fields, and return its id."""
    times = dict.fromkeys(("created", "status_changed", "last_update", "last_change"), tx.now)
    stored = {
        "status": "created",
        "status_reason": "",
        "status_message": "",
        "user": call.user,
        "last_changed_by": call.user,
        "last_iteration": 0,
        **times,
        **document,
    }
    projects.touch(tx, document.get("project"))
    return entities.insert(tx, entities.TASK, stored)
