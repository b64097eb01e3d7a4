"""The tree of projects: names are paths, `path` holds the ids of the ancestors."""

import json
from collections.abc import Sequence

from stepwise_server import limits
from stepwise_server.errors import ApiError
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import PROJECT


def normalise(name: str) -> str:
    """Return a project's name with its segments trimmed and empty ones dropped.

    Raises:
        ApiError: 400/800 if it is too short, 400/409 if it is too deep.
    """
    segments = [segment.strip() for segment in name.split("/")]
    segments = [segment for segment in segments if segment]
    whole = "/".join(segments)
    if len(whole) < limits.NAME_CHARACTERS:
        message = f"Data validation error (a project's name has at least {limits.NAME_CHARACTERS} characters)"
        raise ApiError(400, 800, message, name=whole)
    if len(segments) > limits.PROJECT_DEPTH:
        raise ApiError(400, 409, "Project path is too deep", name=whole, depth=limits.PROJECT_DEPTH)
    return whole


def find(tx: Transaction, name: str) -> str | None:
    """Return the id of the project with exactly this name, or None."""
    found: str | None = tx.value("SELECT id FROM projects WHERE name = ?", [name])
    return found


def taken(name: str) -> ApiError:
    """Return the error for a name that another project has (400/801)."""
    return ApiError(400, 801, "Value combination already exists (unique field already exists)", name=name)


def find_or_create(tx: Transaction, user: str, name: str) -> str:
    """Return the id of the project with this name, created with its parents where it is missing.

    Args:
        tx: a writing transaction.
        user: who owns what is created.
        name: the full path.

    Raises:
        ApiError: as `normalise`.
    """
    return _made(tx, user, normalise(name))


def _made(tx: Transaction, user: str, name: str) -> str:
    """Return the id of the project with this normalised name, made with its parents where it is missing."""
    if found := find(tx, name):
        return found
    parent, path = _parent_of(tx, user, name)
    return entities.insert(
        tx,
        PROJECT,
        {
            "name": name,
            "basename": name.rpartition("/")[2],
            "description": "",
            "parent": parent,
            "path": path,
            "user": user,
            "featured": 9999,
            "created": tx.now,
            "last_update": tx.now,
        },
    )


def _parent_of(tx: Transaction, user: str, name: str) -> tuple[str | None, list[str]]:
    """Return the parent's id for a name, created if missing, and the ids from the top down to it."""
    above = name.rpartition("/")[0]
    if not above:
        return None, []
    parent = _made(tx, user, above)
    return parent, [*json.loads(tx.value("SELECT path FROM projects WHERE id = ?", [parent])), parent]


def subtree(tx: Transaction, ids: Sequence[str]) -> list[str]:
    """Return these projects and all below them."""
    given = json.dumps(list(ids))
    # "0" follows "/": the range holds all names that begin with "<name>/", read from the index on names.
    return tx.column(
        "SELECT id FROM projects WHERE id IN (SELECT value FROM json_each(?))"
        " UNION SELECT below.id FROM projects AS top JOIN projects AS below"
        " ON below.name > top.name || '/' AND below.name < top.name || '0'"
        " WHERE top.id IN (SELECT value FROM json_each(?))",
        [given, given],
    )


def touch(tx: Transaction, project: str | None) -> None:
    """Note that something in a project changed."""
    if project:
        tx.execute("UPDATE projects SET last_update = ? WHERE id = ?", [tx.now, project])


def place(tx: Transaction, user: str, project: str, name: str) -> list[str]:
    """Give a project another full name; everything below follows.

    Args:
        tx: a writing transaction.
        user: who owns parents that are created.
        project: its id.
        name: the new name, normalised; its parents are created.

    Returns:
        The ids of the projects that changed.

    Raises:
        ApiError: 400/801 if the name is taken, 400/409 if anything below would be too deep.
    """
    if find(tx, name) not in (None, project):
        raise taken(name)
    old = tx.value("SELECT name FROM projects WHERE id = ?", [project])
    parent, path = _parent_of(tx, user, name)
    moved = subtree(tx, [project])
    for each, each_name, each_path in tx.execute(
        "SELECT id, name, path FROM projects WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(moved)],
    ).fetchall():
        new_name = normalise(name + each_name[len(old) :])
        ids = json.loads(each_path)
        new_path = path if each == project else [*path, *ids[ids.index(project) :]]
        changes: entities.Document = {"name": new_name, "path": new_path, "last_update": tx.now}
        if each == project:
            changes |= {"basename": name.rpartition("/")[2], "parent": parent}
        entities.save(tx, PROJECT, each, changes)
    return moved
