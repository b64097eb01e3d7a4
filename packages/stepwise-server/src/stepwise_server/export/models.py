"""Models, with their files, curves and metadata."""

from typing import Any

from stepwise_server.export.events import move_events
from stepwise_server.export.files import FileMover

COPIED = ("name", "comment", "tags", "system_tags", "framework", "design", "labels")


def move_model(mover: FileMover, model_id: str, *, project: str | None, task: str | None) -> str:
    """Return the id of a model at the target, created unless it was before.

    Args:
        mover: moves its file.
        model_id: at the source.
        project: of the target, for a new one.
        task: of the target that made it, if that is moved too.
    """
    source, target = mover.source, mover.target
    document: dict[str, Any] = source.call("models.get_by_id", model=model_id)["model"]
    if known := mover.ledger.target("model", model_id):
        return known
    created: str = target.call(
        "models.create",
        **{name: document[name] for name in COPIED if document.get(name)},
        uri=mover.move(document.get("uri")) or "",
        ready=False,
        project=project,
        task=task,
        metadata=document.get("metadata") or {},
    )["id"]
    mover.ledger.note("model", model_id, created)
    if document.get("last_metrics"):
        move_events(mover, model_id, created, model=True)
    if document.get("ready"):
        target.call("models.set_ready", model=created, publish_task=False)
    return created
