"""A published model is called ready: it hardly changes any more."""

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import stamps
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, Document


def mark_ready(tx: Transaction, call: Call, model: Document) -> Document:
    """Publish a model, whatever its task is like, and return the changed fields."""
    fields = {"ready": True, **stamps(tx, call, model)}
    entities.save(tx, MODEL, model["id"], fields)
    projects.touch(tx, model.get("project"))
    return fields
