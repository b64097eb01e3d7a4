"""tasks.delete: the task, its events, its models and its files."""

from dataclasses import dataclass, field
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.store import entities, queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document


@dataclass
class Deleted:
    """What went with a task, or with several.

    Attributes:
        updated_children: tasks whose parent it was.
        updated_models: output models that were kept, without their task.
        deleted_models: output models that were deleted.
        model_urls: files of deleted models.
        artifact_urls: files of output artifacts.
        event_urls: files that events pointed at.
    """

    updated_children: int = 0
    updated_models: int = 0
    deleted_models: int = 0
    model_urls: list[str] = field(default_factory=list)
    artifact_urls: list[str] = field(default_factory=list)
    event_urls: list[str] = field(default_factory=list)

    @property
    def urls(self) -> dict[str, list[str]]:
        """The files, as answers name them."""
        return {
            "model_urls": self.model_urls,
            "artifact_urls": self.artifact_urls,
            "event_urls": self.event_urls,
        }

    def __add__(self, other: "Deleted") -> "Deleted":
        """Return both together."""
        return Deleted(
            self.updated_children + other.updated_children,
            self.updated_models + other.updated_models,
            self.deleted_models + other.deleted_models,
            self.model_urls + other.model_urls,
            self.artifact_urls + other.artifact_urls,
            self.event_urls + other.event_urls,
        )


def delete_task(tx: Transaction, call: Call, task: Document, *, delete_output_models: bool = True) -> Deleted:
    """Delete a task with its events, its place in a queue, and its output models that are not published.

    Whether it may be deleted is the caller's question, and so are the files: pass `urls` to `remove_files`.

    Args:
        tx: a writing transaction.
        call: on whose behalf.
        task: the task as `entities.load` returns it.
        delete_output_models: keep them otherwise, without a task.
    """
    deleted = Deleted(artifact_urls=output_artifact_urls(task))
    queueing.take(tx, task["id"])
    tx.execute(
        "UPDATE tasks SET parent = ?, last_change = ?, last_changed_by = ? WHERE parent = ?",
        [f"__DELETED__{task['id']}", tx.now, call.user, task["id"]],
    )
    deleted.updated_children = tx.value("SELECT changes()")
    entities.remove(tx, entities.TASK, task["id"])
    return deleted


def output_artifact_urls(task: Document) -> list[str]:
    """Return where a task's output artifacts lie."""
    artifacts: list[dict[str, Any]] = task.get("execution", {}).get("artifacts", [])
    return [each["uri"] for each in artifacts if each.get("mode") != "input" and each.get("uri")]
