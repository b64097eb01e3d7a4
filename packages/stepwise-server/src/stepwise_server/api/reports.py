"""The reports service: pages of text with live figures in them, kept as tasks of their own type."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common import many
from stepwise_server.api.common.fields import part, reference, valid_name
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.queries import find
from stepwise_server.api.registry import endpoint
from stepwise_server.api.registry import find as find_endpoint
from stepwise_server.api.tasks.create import insert_task
from stepwise_server.api.tasks.deletion import delete_as_asked
from stepwise_server.api.tasks.edit import save_changes
from stepwise_server.api.tasks.publishing import publish_task
from stepwise_server.api.tasks.transitions import the_task
from stepwise_server.errors import ApiError
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import PROJECT, TASK, Document

FOLDER = ".reports"
"""The hidden project inside a project that holds its reports."""

TAGS = ["hidden", "reports"]
"""System tags of that project and of reports: they are in no table but their own."""

WIDGETS: dict[str, tuple[str, Callable[[list[str]], dict[str, Any]]]] = {
    "debug_images": ("events.debug_images", lambda ids: {"metrics": [{"task": each} for each in ids]}),
    "plots": ("events.get_multi_task_plots", lambda ids: {"tasks": ids}),
    "scalar_metrics_iter_histogram": (
        "events.multi_task_scalar_metrics_iter_histogram",
        lambda ids: {"tasks": ids},
    ),
    "single_value_metrics": ("events.get_task_single_value_metrics", lambda ids: {"tasks": ids}),
}
"""What a report shows of tasks: the call that answers, and how it is told the tasks."""


def _report(tx: Transaction, call: Call) -> Document:
    """Return the report that the call names.

    Raises:
        ApiError: 400/150 if it is another kind of task.
    """
    task = the_task(tx, call)
    if task["type"] != "report":
        raise ApiError(400, 150, "Task is not a report", task=task["id"])
    return task


def _changes(call: Call) -> Document:
    """Return the fields of a report that the call gives."""
    changes: Document = {}
    if call.given("name"):
        changes["name"] = valid_name(call.text("name"), "report")
    for text in ("comment", "report"):
        if call.given(text):
            changes[text] = call.text(text)
    if call.given("tags"):
        changes["tags"] = entities.sorted_tags(call.texts("tags"))
    if call.given("report_assets"):
        changes["report_assets"] = part(call.params["report_assets"], list[str], "report_assets")
    return changes


def _folder(tx: Transaction, call: Call, project: str | None) -> str:
    """Return the id of a project's folder for reports; it is made, hidden, with the first one."""
    name = FOLDER
    if project:
        above = entities.load(tx, PROJECT, project)
        name = above["name"] if above["basename"] == FOLDER else f"{above['name']}/{FOLDER}"
    known = projects.find(tx, name)
    folder = known or projects.find_or_create(tx, call.user, name)
    if not known:
        entities.save(tx, PROJECT, folder, {"system_tags": TAGS})
    return folder


@endpoint("reports.create", writes=True)
def create(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add a report."""
    call.required("name")
    project = reference(tx, PROJECT, call.text("project"), "project")
    folder = _folder(tx, call, project)
    document = {**_changes(call), "type": "report", "system_tags": TAGS, "project": folder}
    return {"id": insert_task(tx, call, document), "project_id": folder}


@endpoint("reports.update", writes=True)
def update(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change a report."""
    task = _report(tx, call)
    return save_changes(tx, call, task, _changes(call))


@endpoint("reports.move", writes=True)
def move(tx: Transaction, call: Call) -> dict[str, Any]:
    """Move a report into the folder of another project, by id or by name, made if it is new."""
    task = _report(tx, call)
    project = reference(tx, PROJECT, call.text("project"), "project")
    if not project and call.text("project_name"):
        project = projects.find_or_create(tx, call.user, call.text("project_name"))
    folder = _folder(tx, call, project)
    save_changes(tx, call, task, {"project": folder})
    return {"project_id": folder}


@endpoint("reports.publish", writes=True)
def publish(tx: Transaction, call: Call) -> dict[str, Any]:
    """Publish a report. It never ran, so the status machine is not asked."""
    task = _report(tx, call)
    return {"updated": 1, "fields": publish_task(tx, call, task, force=True)}


@endpoint("reports.archive", writes=True)
def archive(tx: Transaction, call: Call) -> dict[str, Any]:
    """Archive a report."""
    return _set_archived(tx, call, archived=True)


@endpoint("reports.unarchive", writes=True)
def unarchive(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take a report out of the archive."""
    return _set_archived(tx, call, archived=False)


def _set_archived(tx: Transaction, call: Call, *, archived: bool) -> dict[str, Any]:
    task = _report(tx, call)
    many.set_archived(tx, call, TASK, task, archived)
    fields = entities.load(tx, TASK, task["id"])
    shown = {name: fields[name] for name in ("system_tags", *stamps(tx, call, task, content=False))}
    return {"archived" if archived else "unarchived": 1, "updated": 1, "fields": shown}


@endpoint("reports.delete", writes=True)
def delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Delete a report."""
    return delete_as_asked(tx, call, _report(tx, call))


@endpoint("reports.share", writes=True)
def share(tx: Transaction, call: Call) -> dict[str, Any]:
    """Refuse: there is nobody outside to share with."""
    _report(tx, call)
    raise ApiError(400, 1, "Not supported (reports are not shown to people without an account)")


@endpoint("reports.get_all_ex")
def get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return reports, as `tasks.get_all_ex` does."""
    params = {**call.params, "type": ["report"], "search_hidden": True}
    return find(tx, replace(call, params=params), TASK, expanded=True)


@endpoint("reports.get_tags")
def get_tags(tx: Transaction, _call: Call) -> dict[str, Any]:
    """Return the tags of all reports."""
    query = "SELECT DISTINCT json_each.value FROM tasks, json_each(tasks.tags) WHERE tasks.type = 'report'"
    return {"tags": sorted(tx.column(query))}


@endpoint("reports.get_task_data")
def get_task_data(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return tasks, and what the given widgets show of them, each as the call that it stands for answers."""
    asked = {name: call.mapping(name) for name in WIDGETS if call.given(name)}
    params = {name: value for name, value in call.params.items() if name not in WIDGETS}
    params.setdefault("search_hidden", True)
    answer = find(tx, replace(call, params=params), TASK, expanded=True)
    ids = [task["id"] for task in answer["tasks"]]
    for name, given in asked.items():
        endpoint_name, of_tasks = WIDGETS[name]
        found = find_endpoint(endpoint_name, call.version)
        if found is not None and ids:
            answer[name] = found.handler(tx, replace(call, params={**given, **of_tasks(ids)}))
    return answer
