"""models.delete: the model, its events and its file."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.files import remove_files, sdk_removes
from stepwise_server.api.common.many import for_each
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError
from stepwise_server.store import entities, metrics, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, Document


@endpoint("models.delete", writes=True)
def delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete a model."""
    return _delete(tx, call, entities.load(tx, MODEL, call.required("model")))


@endpoint("models.delete_many", writes=True)
def delete_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete models."""
    return for_each(tx, call, MODEL, lambda model: _delete(tx, call, model))


def _delete(tx: Transaction, call: Call, model: Document) -> dict[str, Any]:
    if not call.flag("force"):
        _check_unused(tx, model)
    urls = delete_model(tx, model)
    if not sdk_removes(call):
        remove_files(tx, call, urls)
    return {"deleted": True, "url": model.get("uri")}


def _check_unused(tx: Transaction, model: Document) -> None:
    """Check that nothing would miss a model.

    Raises:
        ApiError: 400/205 if it is published or an input of tasks, 400/206 if the task that made it is there.
    """
    if model["ready"]:
        raise ApiError(400, 205, "Model in use (it is published)", model=model["id"])
    # Looking for the id in the text first spares the parsing of all other documents.
    users = tx.column(
        "SELECT id FROM tasks WHERE instr(doc, ?) AND EXISTS ("
        "SELECT 1 FROM json_each(doc, '$.models.input') WHERE json_extract(value, '$.model') = ?)",
        [model["id"], model["id"]],
    )
    if users:
        raise ApiError(400, 205, "Model in use", model=model["id"], tasks=users[:10])
    if entities.exists(tx, entities.TASK, model.get("task")):
        raise ApiError(400, 206, "Model's creating task exists", model=model["id"], task=model["task"])


def delete_model(tx: Transaction, model: Document) -> list[str]:
    """Delete a model with its events, and return the URLs of files that nothing refers to any more."""
    urls = metrics.delete_events(tx, model["id"])
    entities.remove(tx, MODEL, model["id"])
    projects.touch(tx, model.get("project"))
    uri = model.get("uri")
    if uri and not tx.one("SELECT 1 FROM models WHERE uri = ?", [uri]):
        urls.append(uri)
    return urls
