"""tasks.delete: the task, its events, its models and its files."""

from dataclasses import dataclass, field
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.files import remove_files, sdk_removes
from stepwise_server.api.common.many import ARCHIVED, for_each
from stepwise_server.api.models.deletion import delete_model
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.steps import pipeline_steps
from stepwise_server.api.tasks.transitions import the_task
from stepwise_server.errors import ApiError
from stepwise_server.store import entities, metrics, projects, queueing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

PUBLISHED = ("publishing", "published")


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

    @property
    def all_urls(self) -> list[str]:
        """All the files."""
        return [*self.model_urls, *self.artifact_urls, *self.event_urls]

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


@endpoint("tasks.delete", writes=True)
def delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete a task."""
    return delete_as_asked(tx, call, the_task(tx, call))


@endpoint("tasks.delete_many", writes=True)
def delete_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete tasks."""
    return for_each(tx, call, TASK, lambda task: delete_as_asked(tx, call, task))


def delete_as_asked(tx: Transaction, call: Call, task: Document) -> dict[str, Any]:
    """Delete a task with all that the call's parameters name, and return the answer.

    Raises:
        ApiError: 400/123 if it may not be deleted without force.
    """
    if not call.flag("force"):
        _check_deletable(tx, task)
    whole_models = call.flag("delete_output_models", default=True)
    deleted = Deleted()
    if call.flag("include_pipeline_steps"):
        for step in pipeline_steps(tx, task):
            if step["status"] not in PUBLISHED or call.flag("force"):
                deleted += delete_task(tx, call, step, delete_output_models=whole_models)
    deleted += delete_task(tx, call, task, delete_output_models=whole_models)
    if not sdk_removes(call):
        remove_files(tx, call, deleted.all_urls)
    return {
        "deleted": True,
        "updated_children": deleted.updated_children,
        "updated_models": deleted.updated_models,
        "deleted_models": deleted.deleted_models,
        "urls": deleted.urls if call.flag("return_file_urls") else None,
    }


def _check_deletable(tx: Transaction, task: Document) -> None:
    """Check that a task may go without force.

    Raises:
        ApiError: 400/123 if it may not.
    """
    if task["status"] != "created" and ARCHIVED not in task["system_tags"]:
        raise ApiError(
            400,
            123,
            "Task cannot be deleted (neither a draft nor archived)",
            task=task["id"],
            status=task["status"],
        )
    published = task["status"] in PUBLISHED or tx.one(
        "SELECT 1 FROM tasks WHERE parent = ? AND status IN ('published', 'publishing')"
        " UNION ALL SELECT 1 FROM models WHERE task = ? AND ready",
        [task["id"], task["id"]],
    )
    if published:
        raise ApiError(
            400, 123, "Task cannot be deleted (it, a child or a model is published)", task=task["id"]
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
    drop_outputs(tx, task, deleted, delete_models=delete_output_models)
    tx.execute("UPDATE models SET task = NULL WHERE task = ?", [task["id"]])
    deleted.updated_models = tx.value("SELECT changes()")
    entities.remove(tx, TASK, task["id"])
    projects.touch(tx, task.get("project"))
    return deleted


def drop_outputs(tx: Transaction, task: Document, deleted: Deleted, *, delete_models: bool) -> None:
    """Delete the events of a task and, if asked, the models that it made and that are not published.

    Args:
        tx: a writing transaction.
        task: the task.
        deleted: is given what was deleted.
        delete_models: whether models go too.
    """
    deleted.event_urls += metrics.delete_events(tx, task["id"])
    if not delete_models:
        return
    ids = tx.column("SELECT id FROM models WHERE task = ? AND NOT ready", [task["id"]])
    for model in entities.load_many(tx, entities.MODEL, ids):
        deleted.model_urls += delete_model(tx, model)
        deleted.deleted_models += 1


def output_artifact_urls(task: Document) -> list[str]:
    """Return where a task's output artifacts lie."""
    artifacts: list[dict[str, Any]] = task.get("execution", {}).get("artifacts", [])
    return [each["uri"] for each in artifacts if each.get("mode") != "input" and each.get("uri")]
