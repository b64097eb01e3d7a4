"""tasks.publish: a task that is meant to stay as it is, and its last output model."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.models.readiness import mark_ready
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.transitions import change_status, check_transition, the_task
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document


@endpoint("tasks.publish", writes=True)
def publish(tx: Transaction, call: Call) -> dict[str, Any]:
    """Publish a task."""
    return {"updated": 1, "fields": publish_task(tx, call, the_task(tx, call), force=call.flag("force"))}


def publish_task(tx: Transaction, call: Call, task: Document, *, force: bool = False) -> Document:
    """Publish a task, with its last output model unless `publish_model` is false; return the changed fields.

    Raises:
        ApiError: 400/110 if it has not ended, without force.
    """
    if not force:
        check_transition(task, "published")
    outputs = task["models"]["output"]
    if outputs and call.flag("publish_model", default=True):
        for model in entities.load_many(tx, entities.MODEL, [outputs[-1]["model"]]):
            if not model["ready"]:
                mark_ready(tx, call, model)
    return change_status(tx, call, task, "published", force=force, changes={"published": tx.now})
