"""models.set_ready: a model is published, and the task that made it."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.many import for_each
from stepwise_server.api.models.edit import the_model
from stepwise_server.api.models.readiness import mark_ready
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.publishing import publish_task
from stepwise_server.api.tasks.transitions import ALLOWED
from stepwise_server.errors import ApiError
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, TASK, Document


@endpoint("models.set_ready", writes=True)
def set_ready(tx: Transaction, call: Call) -> dict[str, Any]:
    """Publish a model."""
    return _publish(tx, call, the_model(tx, call))


@endpoint("models.publish_many", writes=True)
def publish_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Publish models."""
    return for_each(tx, call, MODEL, lambda model: _publish(tx, call, model))


def _publish(tx: Transaction, call: Call, model: Document) -> dict[str, Any]:
    """Publish a model and, unless told otherwise, its task if that has ended.

    Raises:
        ApiError: 400/203 if it is published already.
    """
    if model["ready"]:
        raise ApiError(400, 203, "Model is ready", model=model["id"])
    mark_ready(tx, call, model)
    asked = call.flag("publish_task", default=True) and call.flag("publish_tasks", default=True)
    if not asked:
        return {"updated": 1}
    force = call.flag("force_publish_task")
    for task in entities.load_many(tx, TASK, [model.get("task") or ""]):
        if force or "published" in ALLOWED.get(task["status"], ()):
            fields = publish_task(tx, call, task, force=force)
            return {
                "updated": 1,
                "published_task": {"id": task["id"], "data": {"updated": 1, "fields": fields}},
            }
    return {"updated": 1}
