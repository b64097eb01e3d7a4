"""The pipelines service: another run of a pipeline, and the deletion of runs."""

import re
from typing import Any

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part
from stepwise_server.api.common.many import for_each
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.clone import copy_of
from stepwise_server.api.tasks.create import insert_task
from stepwise_server.api.tasks.deletion import delete_as_asked
from stepwise_server.api.tasks.fields import Parameter, parameter_item
from stepwise_server.api.tasks.queueing import enqueue_task, target_queue, watched
from stepwise_server.api.tasks.transitions import the_task
from stepwise_server.errors import ApiError, missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

ARGUMENTS = "Args"
"""The section of a pipeline's arguments."""

IS_RUN = "type = 'controller' AND EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'pipeline')"


class Argument(msgspec.Struct):
    """An argument of a pipeline."""

    name: str
    value: str | None = None


@endpoint("pipelines.start_pipeline", writes=True)
def start_pipeline(tx: Transaction, call: Call) -> dict[str, Any]:
    """Copy a run of a pipeline, with other arguments if there are any, and queue the copy."""
    source = the_task(tx, call)
    if "pipeline" not in source["system_tags"]:
        raise ApiError(400, 100, "General task error (not a run of a pipeline)", task=source["id"])
    if not call.given("queue"):
        raise missing("queue")
    queue = target_queue(tx, call)
    document = copy_of(tx, source)
    document["name"] = _next_name(tx, source)
    arguments = part(call.items("args"), list[Argument], "args")
    if arguments:
        document["hyperparams"] = {
            **document.get("hyperparams", {}),
            ARGUMENTS: _arguments(source, arguments),
        }
    pipeline = insert_task(tx, call, document)
    enqueue_task(tx, call, entities.load(tx, TASK, pipeline), queue)
    return {"pipeline": pipeline, "enqueued": True, **watched(tx, call, queue)}


def _next_name(tx: Transaction, source: Document) -> str:
    """Return the pipeline's name with the number of the new run."""
    runs: int = tx.value(
        f"SELECT count(*) FROM tasks WHERE project IS ? AND {IS_RUN}", [source.get("project")]
    )
    return f"{re.sub(r' #[0-9]+$', '', source['name'])} #{runs + 1}"


def _arguments(source: Document, arguments: list[Argument]) -> Document:
    """Return the section of the new run's arguments; what a known one is stays known."""
    known = source["hyperparams"].get(ARGUMENTS, {})
    found = {}
    for argument in arguments:
        was = known.get(argument.name.strip(), {})
        parameter = Parameter(
            value=argument.value or "", type=was.get("type"), description=was.get("description")
        )
        item = parameter_item(ARGUMENTS, argument.name, parameter)
        found[item["name"]] = item
    return found


@endpoint("pipelines.delete_runs", writes=True)
def delete_runs(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete runs of a pipeline, but not all of them: that would be the deletion of the pipeline."""
    project = call.required("project")
    if not entities.exists(tx, entities.PROJECT, project):
        raise entities.PROJECT.unknown(project)
    ids = set(call.ids())
    runs = set(tx.column(f"SELECT id FROM tasks WHERE project = ? AND {IS_RUN}", [project]))
    if runs and runs <= ids:
        raise ApiError(400, 160, "Cannot remove all runs of a pipeline", project=project)

    def work(task: Document) -> dict[str, Any]:
        if task["id"] not in runs:
            raise TASK.unknown(task["id"])
        return delete_as_asked(tx, call, task)

    return for_each(tx, call, TASK, work)
