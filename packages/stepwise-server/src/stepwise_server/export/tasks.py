"""One task: its document, artifacts, models, events and, last, its status."""

from typing import Any

from stepwise_server.export.client import RemoteError
from stepwise_server.export.events import move_events
from stepwise_server.export.files import FileMover
from stepwise_server.export.models import move_model

MARK = "stepwise_source"
"""Key in a moved task's `runtime` that names the task it came from: found again even without the ledger."""

ENDINGS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}


def move_task(mover: FileMover, task: dict[str, Any], project: str | None) -> tuple[str, int]:
    """Move a task, or bring a moved one up to date.

    Args:
        mover: moves its files.
        task: the document at the source.
        project: id of its project at the target.

    Returns:
        The task's id at the target, and how many events it got.
    """
    target = mover.target
    moved = _find(mover, task["id"]) or _create(mover, task, project)
    mover.ledger.note("task", task["id"], moved, mover.ledger.state("task", task["id"]))
    published = target.call("tasks.get_by_id", task=moved)["task"]["status"] == "published"
    if not published:
        _describe(mover, task, moved)
        target.call("tasks.started", task=moved, force=True)
        _move_models(mover, task, moved, project)
    events = move_events(mover, task["id"], moved)
    if not published:
        _end(mover, task, moved)
    return moved, events


def _find(mover: FileMover, source_id: str) -> str | None:
    """Return the task that this one became earlier, by the ledger or by its mark."""
    if known := mover.ledger.target("task", source_id):
        return known
    mark = f"^{source_id}$"
    found = mover.target.call(
        "tasks.get_all",
        _all_={"fields": [f"runtime.{MARK}"], "pattern": mark},
        only_fields=["id"],
        search_hidden=True,
    )["tasks"]
    return found[0]["id"] if found else None


def _create(mover: FileMover, task: dict[str, Any], project: str | None) -> str:
    parent = task.get("parent")
    created: str = mover.target.call(
        "tasks.create",
        name=task["name"],
        type=task["type"],
        project=project,
        parent=mover.ledger.target("task", parent) if parent else None,
        system_tags=task["system_tags"],
        runtime={**task["runtime"], MARK: task["id"]},
    )["id"]
    return created


def _describe(mover: FileMover, task: dict[str, Any], moved: str) -> None:
    """Write everything but models and status; artifacts are moved with it."""
    artifacts = [
        {**artifact, "uri": mover.move(artifact.get("uri"))} if artifact.get("uri") else artifact
        for artifact in task["execution"].get("artifacts", [])
    ]
    execution = {key: value for key, value in task["execution"].items() if key not in ("queue", "artifacts")}
    mover.target.call(
        "tasks.edit",
        task=moved,
        force=True,
        comment=task.get("comment", ""),
        tags=task["tags"],
        system_tags=task["system_tags"],
        script=task["script"],
        execution={**execution, "artifacts": artifacts},
        hyperparams=task["hyperparams"],
        configuration=task["configuration"],
        container=task["container"],
        runtime={**task["runtime"], MARK: task["id"]},
        output_dest=mover.target.files_url if mover.source.owns(_output(task)) else _output(task) or None,
    )
    mover.target.call("tasks.update", task=moved, created=task["created"])


def _output(task: dict[str, Any]) -> str:
    destination: str = task["output"].get("destination") or ""
    return destination + "/" if destination and not destination.endswith("/") else destination


def _move_models(mover: FileMover, task: dict[str, Any], moved: str, project: str | None) -> None:
    for side in ("input", "output"):
        for entry in task["models"][side]:
            try:
                made_by = moved if side == "output" else None
                model = move_model(mover, entry["model"], project=project, task=made_by)
            except RemoteError as error:
                if (error.code, error.subcode) != (400, 201):  # deleted at the source: only its name is left
                    raise
                continue
            mover.target.call(
                "tasks.add_or_update_model", task=moved, name=entry["name"], model=model, type=side
            )


def _end(mover: FileMover, task: dict[str, Any], moved: str) -> None:
    """Give the moved task the status of its source; one that still runs or waits becomes `stopped`."""
    status = task["status"]
    ending = ENDINGS.get("completed" if status in ("published", "closed") else status, "tasks.stopped")
    if status == "created":
        return
    reason = task.get("status_reason") or ""
    running = f"still {status} when it was exported" if status in ("in_progress", "queued") else ""
    mover.target.call(
        ending,
        task=moved,
        force=True,
        status_reason=reason,
        status_message=running or task.get("status_message") or "",
    )
    if status == "published":
        mover.target.call("tasks.publish", task=moved, force=True, publish_model=False)
