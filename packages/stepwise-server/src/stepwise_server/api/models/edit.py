"""models.create, models.edit, models.update and calls that are only about where models are shown."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common import many
from stepwise_server.api.common.fields import date
from stepwise_server.api.common.moving import move as move_entities
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.models.fields import read_changes
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError, missing
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, Document

LABELS = frozenset({"name", "comment", "project", "tags", "system_tags", "ui_cache"})
"""Fields that do not make a model newer."""

FIXED = frozenset({"uri", "framework", "design", "labels", "ready", "task"})
"""Fields that a published model keeps."""


@endpoint("models.create", writes=True)
def create(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add a model; it counts as published unless `ready` is false."""
    for field in ("uri", "name"):
        if not call.given(field):
            raise missing(field)
    return {"id": insert_model(tx, call, read_changes(tx, call, {})), "created": True}


def insert_model(tx: Transaction, call: Call, document: Document) -> str:
    """Add a model with these fields, and return its id."""
    times = dict.fromkeys(("created", "last_update", "last_change"), tx.now)
    by = {"user": call.user, "last_changed_by": call.user}
    projects.touch(tx, document.get("project"))
    return entities.insert(tx, MODEL, {"ready": True, "last_iteration": 0, **times, **by, **document})


def the_model(tx: Transaction, call: Call) -> Document:
    """Return the model that the call names.

    Raises:
        ApiError: 400/11 if it names none, 400/201 if there is no such model.
    """
    return entities.load(tx, MODEL, call.required("model"))


@endpoint("models.edit", writes=True)
def edit(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change a model; of a published one not what it is, only how it is described."""
    model = the_model(tx, call)
    changes = read_changes(tx, call, model)
    changed = {name for name, value in changes.items() if value != model.get(name)}
    if model["ready"] and changed & FIXED:
        raise ApiError(400, 203, "Model is ready", model=model["id"], fields=sorted(changed & FIXED))
    return _save(tx, call, model, changes)


@endpoint("models.update", writes=True)
def update(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change a model, published or not."""
    model = the_model(tx, call)
    names = ("name", "comment", "tags", "system_tags", "uri", "project", "metadata", "ui_cache")
    changes = {name: value for name, value in read_changes(tx, call, model).items() if name in names}
    if call.given("created"):
        changes["created"] = date(call.text("created"), "created")
    return _save(tx, call, model, changes)


def _save(tx: Transaction, call: Call, model: Document, changes: Document) -> dict[str, Any]:
    """Write changes with their stamps, and the iteration into the model's task; return the answer."""
    iteration = call.integer("iteration")
    task = changes.get("task", model.get("task"))
    if iteration is not None and task:
        tx.execute(
            "UPDATE tasks SET last_iteration = max(last_iteration, ?), last_update = ?, last_change = ?"
            " WHERE id = ?",
            [iteration, tx.now, tx.now, task],
        )
    if not changes:
        return {"updated": 0, "fields": {}}
    fields = {**changes, **stamps(tx, call, model, content=not changes.keys() <= LABELS)}
    entities.save(tx, MODEL, model["id"], fields)
    for project in {model.get("project"), fields.get("project", model.get("project"))}:
        projects.touch(tx, project)
    return {"updated": 1, "fields": fields}


@endpoint("models.archive_many", writes=True)
def archive_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Archive models."""

    def work(model: Document) -> dict[str, Any]:
        many.set_archived(tx, call, MODEL, model, archived=True)
        return {"archived": True}

    return many.for_each(tx, call, MODEL, work)


@endpoint("models.unarchive_many", writes=True)
def unarchive_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take models out of the archive."""

    def work(model: Document) -> dict[str, Any]:
        many.set_archived(tx, call, MODEL, model, archived=False)
        return {"unarchived": True}

    return many.for_each(tx, call, MODEL, work)


@endpoint("models.move", writes=True)
def move(tx: Transaction, call: Call) -> dict[str, Any]:
    """Move models into a project."""
    return move_entities(tx, call, MODEL)


@endpoint("models.update_tags", writes=True)
def update_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add and remove tags of models."""
    return many.update_tags(tx, call, MODEL)


@endpoint("models.get_frameworks")
def get_frameworks(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the frameworks of the models in projects and below them; of all models if no project is given."""
    frameworks: set[str] = set()
    if wanted := call.texts("projects"):
        for project in projects.subtree(tx, wanted):
            frameworks.update(tx.column("SELECT framework FROM models WHERE project = ?", [project]))
    else:
        frameworks.update(tx.column("SELECT DISTINCT framework FROM models"))
    return {"frameworks": sorted(filter(None, frameworks))}


endpoint("models.make_public", writes=True)(many.refuse_public)
endpoint("models.make_private", writes=True)(many.nothing_public)
