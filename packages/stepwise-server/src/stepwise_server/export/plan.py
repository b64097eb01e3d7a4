"""Which tasks are moved, in which order, and what came of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepwise_server import limits
from stepwise_server.export.client import Remote, RemoteError
from stepwise_server.export.files import FileMover
from stepwise_server.export.ledger import Ledger
from stepwise_server.export.tasks import move_task


@dataclass
class Report:
    """What an export did.

    Attributes:
        moved: ids of the tasks that were moved or brought up to date, with their ids at the target.
        unchanged: tasks that had not changed since an earlier export.
        deleted: tasks that were moved earlier and deleted at the target; they stay deleted.
        events: events that the target got.
        missing_files: URLs that the source lists and does not have.
    """

    moved: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    events: int = 0
    missing_files: list[str] = field(default_factory=list)


def export_tasks(
    source: Remote,
    target: Remote,
    ledgers: Path,
    *,
    tasks: Sequence[str] = (),
    project: str = "",
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Report:
    """Promote tasks to another server, each once however often this runs.

    Args:
        source: server that has them.
        target: server that gets them.
        ledgers: folder that remembers what was moved.
        tasks: ids; all unless given.
        project: only tasks of this project and those below it.
        progress: called before each task with how many are done, how many there are, and its name.

    Raises:
        ServerError: if one of the servers fails; what was moved stays, and the next export goes on from there.
    """
    report = Report()
    with Ledger(ledgers, target.api_url) as ledger:
        mover = FileMover(source, target, ledger, report.missing_files)
        chosen = _parents_first(_list(source, tasks, project))
        for number, listed in enumerate(chosen):
            progress(number, len(chosen), listed["name"])
            task_id, change = listed["id"], listed["last_change"]
            if ledger.state("task", task_id) == change:
                report.unchanged.append(task_id)
                continue
            document = source.call("tasks.get_by_id", task=task_id)["task"]
            try:
                moved, events = move_task(mover, document, _project(mover, document.get("project")))
            except RemoteError as error:
                known = ledger.target("task", task_id)
                if not known or (error.code, error.subcode) != (400, 101) or _is_there(target, known):
                    raise
                report.deleted.append(task_id)
                ledger.note("task", task_id, known, change)
                continue
            report.moved[task_id] = moved
            report.events += events
            ledger.note("task", task_id, moved, change)
        progress(len(chosen), len(chosen), "")
    return report


def _list(source: Remote, tasks: Sequence[str], project: str) -> list[dict[str, Any]]:
    """Return id, name, parent, last_change and created of the chosen tasks, archived ones too."""
    query: dict[str, Any] = {"search_hidden": True, "order_by": ["created"]}
    if tasks:
        query["id"] = list(tasks)
    if project:
        names = source.call("projects.get_all", name=f"^{_escaped(project)}$", search_hidden=True)["projects"]
        if not names:
            raise RemoteError(f"there is no project {project!r} at {source.api_url}", 400, 401)
        query |= {"project": [names[0]["id"]], "include_subprojects": True}
    return list(_pages(source, query))


def _pages(source: Remote, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    fields = ["id", "name", "parent", "last_change", "created"]
    for page in range(1_000_000):
        rows = source.call(
            "tasks.get_all", **query, only_fields=fields, page=page, page_size=limits.PAGE_ROWS
        )["tasks"]
        yield from rows
        if len(rows) < limits.PAGE_ROWS:
            return


def _parents_first(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks so that a parent comes before its children."""
    by_id = {task["id"]: task for task in tasks}
    ordered: dict[str, dict[str, Any]] = {}
    for task in tasks:
        line = []
        while task and task["id"] not in ordered and task not in line:
            line.append(task)
            task = by_id.get(task.get("parent", ""), {})
        ordered.update({each["id"]: each for each in reversed(line)})
    return list(ordered.values())


def _project(mover: FileMover, project_id: str | None) -> str | None:
    """Return the id of a project at the target: the one of the same name, created with its tags if new."""
    if not project_id:
        return None
    if known := mover.ledger.target("project", project_id):
        return known
    project = mover.source.call("projects.get_by_id", project=project_id)["project"]
    _project(mover, project.get("parent"))  # first, so that hidden parents get their tags too
    found = mover.target.call(
        "projects.get_all", name=f"^{_escaped(project['name'])}$", search_hidden=True, only_fields=["id"]
    )["projects"]
    moved: str = (
        found[0]["id"]
        if found
        else mover.target.call(
            "projects.create",
            name=project["name"],
            description=project.get("description", ""),
            tags=project["tags"],
            system_tags=project["system_tags"],
        )["id"]
    )
    mover.ledger.note("project", project_id, moved)
    return moved


def _is_there(target: Remote, task_id: str) -> bool:
    return bool(target.call("tasks.get_all", id=[task_id], only_fields=["id"], search_hidden=True)["tasks"])


def _escaped(text: str) -> str:
    """Return a regular expression for the text itself that every server understands."""
    return "".join(each if each.isalnum() or each in "_/" else f"\\{each}" for each in text)
