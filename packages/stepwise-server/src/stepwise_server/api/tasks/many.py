"""One call for many tasks, and calls that are only about where tasks are shown."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common import many
from stepwise_server.api.common.moving import move as move_entities
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.publishing import publish_task
from stepwise_server.api.tasks.queueing import leave_queue
from stepwise_server.api.tasks.status import stop_task
from stepwise_server.api.tasks.steps import pipeline_steps
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document


@endpoint("tasks.stop_many", writes=True)
def stop_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Stop tasks."""
    return many.for_each(tx, call, TASK, lambda task: stop_task(tx, call, task))


@endpoint("tasks.publish_many", writes=True)
def publish_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Publish tasks."""
    force = call.flag("force")

    def work(task: Document) -> dict[str, Any]:
        return {"updated": 1, "fields": publish_task(tx, call, task, force=force)}

    return many.for_each(tx, call, TASK, work)


@endpoint("tasks.archive", writes=True)
def archive(tx: Transaction, call: Call) -> dict[str, Any]:
    """Archive tasks, all or none."""
    for each in dict.fromkeys(call.ids("tasks")):
        _archive(tx, call, entities.load(tx, TASK, each))
    return {"archived": len(set(call.ids("tasks")))}


@endpoint("tasks.archive_many", writes=True)
def archive_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Archive tasks."""
    return many.for_each(tx, call, TASK, lambda task: _archive(tx, call, task))


def _archive(tx: Transaction, call: Call, task: Document) -> dict[str, Any]:
    """Archive a task; it leaves its queue."""
    steps = pipeline_steps(tx, task) if call.flag("include_pipeline_steps") else []
    for each in (*steps, task):
        leave_queue(tx, call, each)
        many.set_archived(tx, call, TASK, each, archived=True)
    return {"archived": True}


@endpoint("tasks.unarchive_many", writes=True)
def unarchive_many(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take tasks out of the archive."""

    def work(task: Document) -> dict[str, Any]:
        steps = pipeline_steps(tx, task) if call.flag("include_pipeline_steps") else []
        for each in (*steps, task):
            many.set_archived(tx, call, TASK, each, archived=False)
        return {"unarchived": True}

    return many.for_each(tx, call, TASK, work)


@endpoint("tasks.move", writes=True)
def move(tx: Transaction, call: Call) -> dict[str, Any]:
    """Move tasks into a project."""
    return move_entities(tx, call, TASK)


@endpoint("tasks.update_tags", writes=True)
def update_tags(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add and remove tags of tasks."""
    return many.update_tags(tx, call, TASK)


@endpoint("tasks.get_types")
def get_types(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the types of the tasks in projects and below them; of all tasks if no project is given."""
    wanted = call.texts("projects")
    if not wanted:
        return {"types": tx.column("SELECT DISTINCT type FROM tasks ORDER BY type")}
    types: set[str] = set()
    for project in projects.subtree(tx, wanted):
        types.update(tx.column("SELECT DISTINCT type FROM tasks WHERE project = ?", [project]))
    return {"types": sorted(types)}


endpoint("tasks.make_public", writes=True)(many.refuse_public)
endpoint("tasks.make_private", writes=True)(many.nothing_public)
