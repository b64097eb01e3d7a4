"""The metadata of models, entry by entry."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.models.edit import the_model
from stepwise_server.api.models.fields import read_metadata
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, Document


@endpoint("models.add_or_update_metadata", writes=True)
def add_or_update_metadata(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add or replace entries; `replace_metadata` drops all others."""
    model = the_model(tx, call)
    if not call.given("metadata"):
        raise missing("metadata")
    kept = {} if call.flag("replace_metadata") else model["metadata"]
    return {"updated": _save(tx, call, model, {**kept, **read_metadata(call.params["metadata"])})}


@endpoint("models.delete_metadata", writes=True)
def delete_metadata(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remove entries."""
    model = the_model(tx, call)
    gone = set(call.ids("keys"))
    kept = {key: entry for key, entry in model["metadata"].items() if key not in gone}
    return {"updated": _save(tx, call, model, kept)}


def _save(tx: Transaction, call: Call, model: Document, metadata: Document) -> int:
    if metadata == model["metadata"]:
        return 0
    entities.save(tx, MODEL, model["id"], {"metadata": metadata, **stamps(tx, call, model)})
    return 1
