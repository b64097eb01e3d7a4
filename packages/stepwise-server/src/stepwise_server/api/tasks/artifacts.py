"""The artifacts and models of a task."""

from typing import Any, Literal

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import Artifact, join_artifacts
from stepwise_server.api.tasks.transitions import require_status, the_task
from stepwise_server.errors import invalid, missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

EDITABLE = ("created", "queued", "in_progress")
"""States in which outputs of a task may still change; `force` makes no difference."""


class ArtifactId(msgspec.Struct):
    """Which artifact."""

    key: str
    mode: Literal["input", "output"] | None = None


class ModelId(msgspec.Struct):
    """Which of a task's models."""

    name: str
    type: Literal["input", "output"]


@endpoint("tasks.add_or_update_artifacts", writes=True)
def add_or_update_artifacts(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add artifacts, or replace those of the same key and mode."""
    task = the_task(tx, call)
    artifacts = part(_listed(call, "artifacts"), list[Artifact], "artifacts")
    require_status(task, *EDITABLE)
    _save_artifacts(tx, call, task, join_artifacts(task["execution"]["artifacts"], artifacts))
    return {"updated": 1}


@endpoint("tasks.delete_artifacts", writes=True)
def delete_artifacts(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remove artifacts from the task; their files stay."""
    task = the_task(tx, call)
    given = part(_listed(call, "artifacts"), list[ArtifactId], "artifacts")
    require_status(task, *EDITABLE)
    gone = {(each.key.strip(), each.mode or "output") for each in given}
    present = task["execution"]["artifacts"]
    kept = [each for each in present if (each["key"], each["mode"]) not in gone]
    if len(kept) == len(present):
        return {"deleted": 0}
    _save_artifacts(tx, call, task, kept)
    return {"deleted": 1}


def _listed(call: Call, name: str) -> list[Any]:
    """Return a list that must be there and hold something."""
    if not call.given(name):
        raise missing(name)
    items: list[Any] = call.items(name)
    if not items:
        raise invalid(f"{name} is empty")
    return items


def _save_artifacts(tx: Transaction, call: Call, task: Document, artifacts: list[Document]) -> None:
    execution = {**task["execution"], "artifacts": artifacts}
    entities.save(tx, TASK, task["id"], {"execution": execution, **stamps(tx, call, task)})


@endpoint("tasks.add_or_update_model", writes=True)
def add_or_update_model(tx: Transaction, call: Call) -> dict[str, Any]:
    """Name a model as input or output of the task; the same name again replaces it."""
    task = the_task(tx, call)
    name, kind = call.required("name"), call.required("type")
    if kind not in ("input", "output"):
        raise invalid("type is neither input nor output", type=kind)
    model = entities.load(tx, entities.MODEL, call.required("model"))["id"]
    require_status(task, *EDITABLE)
    entry = {"name": name, "model": model, "updated": tx.now}
    entries = task["models"][kind]
    if any(each["name"] == name for each in entries):
        entries = [entry if each["name"] == name else each for each in entries]
    else:
        entries = [*entries, entry]
    iteration = max(task["last_iteration"], call.integer("iteration") or 0)
    changes = {"models": {**task["models"], kind: entries}, "last_iteration": iteration}
    entities.save(tx, TASK, task["id"], {**changes, **stamps(tx, call, task)})
    return {"updated": 1}


@endpoint("tasks.delete_models", writes=True)
def delete_models(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take models from the task's lists; the models themselves stay."""
    task = the_task(tx, call)
    given = part(_listed(call, "models"), list[ModelId], "models")
    require_status(task, *EDITABLE)
    gone = {(each.type, each.name) for each in given}
    kept = {
        kind: [each for each in task["models"][kind] if (kind, each["name"]) not in gone]
        for kind in ("input", "output")
    }
    if kept == task["models"]:
        return {"updated": 0}
    entities.save(tx, TASK, task["id"], {"models": kept, **stamps(tx, call, task)})
    return {"updated": 1}
