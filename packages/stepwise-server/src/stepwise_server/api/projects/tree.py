"""projects.create, update, move, merge."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError, missing
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import PROJECT, Document


def the_project(tx: Transaction, call: Call, name: str = "project") -> Document:
    """Return the project that a parameter names.

    Raises:
        ApiError: 400/401 if there is none, 400/11 if none is named.
    """
    return entities.load(tx, PROJECT, call.required(name))


@endpoint("projects.create", writes=True)
def create(tx: Transaction, call: Call) -> dict[str, Any]:
    """Make a project, and the projects above it that are missing."""
    if not call.given("name"):
        raise missing("name")
    name = projects.normalise(call.text("name"))
    if projects.find(tx, name):
        raise projects.taken(name)
    project = projects.find_or_create(tx, call.user, name)
    entities.save(tx, PROJECT, project, _given(call))
    return {"id": project}


@endpoint("projects.update", writes=True)
def update(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change a project; of its name only the last part, which the names of all below it follow."""
    project = the_project(tx, call)
    changes = _given(call)
    if call.given("name"):
        name = projects.normalise(call.text("name"))
        if name.rpartition("/")[0] != project["name"].rpartition("/")[0]:
            raise ApiError(400, 408, "Cannot update project location, use projects.move instead", name=name)
        if name != project["name"]:
            projects.place(tx, call.user, project["id"], name)
            changes |= {"name": name, "basename": name.rpartition("/")[2]}
    if not changes:
        return {"updated": 0, "fields": {}}
    changes["last_update"] = tx.now
    entities.save(tx, PROJECT, project["id"], changes)
    return {"updated": 1, "fields": {name: value for name, value in changes.items() if value is not None}}


def _given(call: Call) -> Document:
    """Return the fields that a call sets, besides the name. An explicit null clears the output destination."""
    fields: Document = {}
    for name in ("tags", "system_tags"):
        if call.given(name):
            fields[name] = entities.sorted_tags(call.texts(name))
    for name in ("description", "default_output_destination", "logo_url"):
        if call.given(name):
            fields[name] = call.text(name)
    if "default_output_destination" in call.params and not call.text("default_output_destination"):
        fields["default_output_destination"] = None
    return fields


@endpoint("projects.move", writes=True)
def move(tx: Transaction, call: Call) -> dict[str, Any]:
    """Move a project, with all below it, under another one; without `new_location` to the top."""
    project = the_project(tx, call)
    location = call.text("new_location").strip()
    target = projects.normalise(location) if location.strip("/ ") else ""
    if target == project["name"].rpartition("/")[0]:
        raise ApiError(400, 410, "Project has the same source and target location", project=project["name"])
    if (target + "/").startswith(project["name"] + "/"):
        message = "Project cannot be moved below itself"
        raise ApiError(400, 411, message, project=project["name"], location=target)
    name = "/".join([target, project["basename"]]) if target else project["basename"]
    moved = projects.place(tx, call.user, project["id"], name)
    for parent in (
        project.get("parent"),
        tx.value("SELECT parent FROM projects WHERE id = ?", [project["id"]]),
    ):
        projects.touch(tx, parent)
    return {"moved": len(moved)}


@endpoint("projects.merge", writes=True)
def merge(tx: Transaction, call: Call) -> dict[str, Any]:
    """Move what is in a project into another one, or out of all, and delete the empty project."""
    project = the_project(tx, call)
    into = "destination" if call.given("destination") else "destination_project"
    target = the_project(tx, call, into) if call.given(into) else None
    if target and target["id"] == project["id"]:
        raise ApiError(400, 410, "Project has the same source and target", project=project["name"])
    if target and project["id"] in target["path"]:
        raise ApiError(400, 412, "Project cannot be merged into its child", project=project["name"])
    target_id = target["id"] if target else None
    moved = 0
    for table in ("tasks", "models"):
        moved += tx.execute(
            f"UPDATE {table} SET project = ?, last_change = ?, last_changed_by = ? WHERE project = ?",
            [target_id, tx.now, call.user, project["id"]],
        ).rowcount
    below = tx.execute("SELECT id, basename FROM projects WHERE parent = ?", [project["id"]]).fetchall()
    for child, basename in below:
        name = f"{target['name']}/{basename}" if target else basename
        projects.place(tx, call.user, child, name)
    projects.touch(tx, target_id)
    entities.remove(tx, PROJECT, project["id"])
    return {"moved_entities": moved, "moved_projects": len(below)}
