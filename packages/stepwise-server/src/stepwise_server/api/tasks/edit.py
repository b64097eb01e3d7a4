"""tasks.edit and the narrower calls that change what a task says of itself."""

import dataclasses
from typing import Any

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import date, free, part, reference, valid_name
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import read_changes
from stepwise_server.api.tasks.transitions import change_status, require_status, the_task
from stepwise_server.errors import invalid, missing
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

LABELS = frozenset({"name", "comment", "project", "tags", "system_tags", "created", "status_message"})
"""Fields that do not make a task newer: `last_update` orders datasets and keeps the watchdog away."""


def save_changes(tx: Transaction, call: Call, task: Document, changes: Document) -> dict[str, Any]:
    """Write changes with their stamps, and return the answer of an edit."""
    if not changes:
        return {"updated": 0, "fields": {}}
    fields = {**changes, **stamps(tx, call, task, content=not changes.keys() <= LABELS)}
    entities.save(tx, TASK, task["id"], fields)
    for project in {task.get("project"), fields.get("project", task.get("project"))}:
        projects.touch(tx, project)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.edit", writes=True)
def edit(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change a draft, or with force any task."""
    task = the_task(tx, call)
    force = call.flag("force")
    if not force:
        require_status(task, "created")
    changes = read_changes(tx, call, task)
    if not call.given("status"):
        return save_changes(tx, call, task, changes)
    fields = change_status(tx, call, task, call.text("status"), force=force, changes=changes)
    return {"updated": 1, "fields": fields}


@endpoint("tasks.update", writes=True)
def update(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change labels and the like, in any status."""
    task = the_task(tx, call)
    changes: Document = {}
    if call.given("name"):
        changes["name"] = valid_name(call.text("name"), "task")
    for tags in ("tags", "system_tags"):
        if call.given(tags):
            changes[tags] = entities.sorted_tags(call.texts(tags))
    for text in ("comment", "status_message"):
        if call.given(text):
            changes[text] = call.text(text)
    if call.given("project"):
        changes["project"] = reference(tx, entities.PROJECT, call.text("project"), "project")
    if call.given("created"):
        changes["created"] = date(call.text("created"), "created")
    if call.given("output__error"):
        changes["output"] = {**task["output"], "error": call.text("output__error")}
    return save_changes(tx, call, task, changes)


@endpoint("tasks.update_batch", writes=True, batch=True)
def update_batch(tx: Transaction, call: Call) -> dict[str, Any]:
    """Apply many updates, all or none."""
    updated = 0
    for line in call.batch:
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise invalid(f"a line is no JSON object: {error}") from None
        updated += update(tx, dataclasses.replace(call, params=record))["updated"]
    return {"updated": updated}


@endpoint("tasks.set_requirements", writes=True)
def set_requirements(tx: Transaction, call: Call) -> dict[str, Any]:
    """Replace the script's requirements, in any status."""
    task = the_task(tx, call)
    if not call.given("requirements"):
        raise missing("requirements")
    requirements = free(call.mapping("requirements"), "requirements")
    changed = stamps(tx, call, task)
    script = {**task["script"], "requirements": requirements}
    entities.save(tx, TASK, task["id"], {"script": script, **changed})
    return {"updated": 1, "fields": {"script.requirements": requirements, **changed}}


@endpoint("tasks.edit_runtime", writes=True)
def edit_runtime(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add and remove single runtime properties, in any status."""
    task = the_task(tx, call)
    added = free(call.mapping("add_or_update"), "add_or_update")
    removed = part(call.params.get("remove") or [], list[str], "remove")
    runtime = {**task["runtime"], **added}
    for key in removed:
        runtime.pop(key, None)
    if runtime == task["runtime"]:
        return {"updated": 0}
    return {"updated": save_changes(tx, call, task, {"runtime": runtime})["updated"]}


@endpoint("tasks.ping", writes=True)
def ping(tx: Transaction, call: Call) -> dict[str, Any]:
    """Note that the task's process is alive. Comes often, so the document is not read."""
    task_id = call.required("task")
    row = tx.one("SELECT status, started FROM tasks WHERE id = ?", [task_id])
    if row is None:
        raise TASK.unknown(task_id)
    changed = stamps(tx, call, {"status": row[0], "started": row[1]})
    entities.save(tx, TASK, task_id, changed)
    return {}
