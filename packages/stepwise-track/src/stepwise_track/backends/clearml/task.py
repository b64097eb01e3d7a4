"""The ClearML task of a run: found or created, described, ended."""

import json
import os
import re
from pathlib import Path
from typing import Any

from stepwise_track.backends.clearml.connection import CallError, Connection
from stepwise_track.backends.protocol import Rejected, RunContext

MARK = "stepwise_journal"
"""Key of the task's runtime properties that names the journal: the task is found again by it."""

AGENTS_TASK = "CLEARML_TASK_ID"
"""Environment variable by which an agent tells a process which task it runs."""

ENDINGS = {"completed": "tasks.completed", "failed": "tasks.failed", "stopped": "tasks.stopped"}


def find_or_create(connection: Connection, run: RunContext) -> str:
    """Return the id of the run's task, which is running then.

    In a process that clearml-agent started, it is the agent's task.

    Raises:
        Rejected: if the task was deleted on the server.
    """
    task_id = run.state.get("task") or _given(run) or _marked(connection, run) or _create(connection, run)
    try:
        task = connection.call("tasks.get_by_id", task=task_id)["task"]
    except CallError as error:
        raise Rejected(f"the task {task_id} is not on the server any more ({error})") from None
    run.state["task"] = task_id
    if task_id == os.environ.get(AGENTS_TASK):
        run.state["agent"] = True
    run.state["project"] = task.get("project")
    run.state["url"] = f"{connection.web_host}/projects/{task.get('project', '*')}/tasks/{task_id}/output/log"
    run.save()
    if task["runtime"].get(MARK) != run.journal_id:
        connection.call(
            "tasks.edit", task=task_id, force=True, runtime={**task["runtime"], MARK: run.journal_id}
        )
    if task["status"] == "published":
        raise Rejected(f"the task {task_id} is published, so nothing can be added to it")
    connection.call("tasks.started", task=task_id, force=True)
    return str(task_id)


def _given(run: RunContext) -> str | None:
    """Return the task that an agent runs, or that the user named."""
    return run.options.get("task_id") or os.environ.get(AGENTS_TASK) or None


def _marked(connection: Connection, run: RunContext) -> str | None:
    """Return a task that an earlier worker created and could not note down."""
    found = connection.call(
        "tasks.get_all",
        _all_={"fields": [f"runtime.{MARK}"], "pattern": f"^{run.journal_id}$"},
        only_fields=["id"],
        search_hidden=True,
    )["tasks"]
    return found[0]["id"] if found else None


def _create(connection: Connection, run: RunContext) -> str:
    started = run.started
    created: str = connection.call(
        "tasks.create",
        name=started.experiment_name
        if len(started.experiment_name) >= 3
        else f"run {started.experiment_name}",
        type=run.options.get("task_type", "training"),
        project=find_or_create_project(connection, started.project_name),
        tags=list(started.tags),
        comment=started.notes,
        runtime={MARK: run.journal_id},
    )["id"]
    return created


def find_or_create_project(connection: Connection, name: str) -> str:
    """Return the id of a project, created with those above it unless it is there."""
    name = "/".join(part.strip() for part in name.split("/") if part.strip()) or "stepwise"
    if len(name) < 3:  # servers want three characters
        name = f"project {name}"
    pattern = "^" + re.sub(r"([^\w/])", r"\\\1", name) + "$"
    found = connection.call("projects.get_all", name=pattern, only_fields=["id"], search_hidden=True)[
        "projects"
    ]
    if found:
        return str(found[0]["id"])
    try:
        return str(connection.call("projects.create", name=name, description="")["id"])
    except CallError as error:
        if error.subcode != 801:  # another run created it in this moment
            raise
    return find_or_create_project(connection, name)


def describe(connection: Connection, task_id: str, environment: Path, *, code: bool = True) -> None:
    """Tell the task what the run runs on: the machine, and if wanted how to run it again.

    Args:
        connection: to the server.
        task_id: the task.
        environment: the run's environment.json.
        code: whether to tell entry point, packages, commit and changes; an agent's task has them.
    """
    facts: dict[str, Any] = json.loads(environment.read_text(encoding="utf-8"))
    task = connection.call("tasks.get_by_id", task=task_id)["task"]
    machine = {
        "platform": facts["platform"]["system"],
        "hostname": facts["platform"]["host"],
        "python_version": facts["python"]["version"],
        "cpu_type": facts["cpu"]["name"],
        "cpu_cores": facts["cpu"]["threads"],
        "memory_gb": round(facts["memory_bytes"] / 2**30, 1),
        **_gpu(facts.get("gpu")),
    }
    runtime = {**task["runtime"], **{name: value for name, value in machine.items() if value is not None}}
    connection.call("tasks.edit", task=task_id, force=True, runtime=runtime)
    if code:
        connection.call("tasks.edit", task=task_id, force=True, script=_script(facts))
        packages = "".join(f"{name}=={version}\n" for name, version in facts["packages"].items())
        connection.call("tasks.set_requirements", task=task_id, requirements={"pip": packages})


def _script(facts: dict[str, Any]) -> dict[str, str]:
    """Return how an agent runs the program again.

    An installed module needs no code but itself: with a repository or changes the agent would look for it there.
    """
    command = facts["command"]
    git = {} if command.get("installed") else facts.get("git") or {}
    return {
        "binary": f"python{'.'.join(facts['python']['version'].split('.')[:2])}",
        "entry_point": command["entry_point"],
        "working_dir": ".",  # agents lose the arguments where it is empty
        "repository": "",
        "branch": git.get("branch", ""),
        "version_num": git.get("commit", ""),
        "diff": git.get("diff", ""),
    }


def _gpu(gpu: dict[str, Any] | None) -> dict[str, Any]:
    devices = (gpu or {}).get("devices") or []
    names = ", ".join(device["name"] for device in devices)
    return {"gpu_count": len(devices), "gpu_type": names or None, "gpu_driver_cuda": (gpu or {}).get("cuda")}


def parameters(values: dict[str, Any]) -> list[dict[str, str]]:
    """Return a tree of settings as hyperparameters: the top level as sections, the rest as `a/b/c`."""
    items: list[dict[str, str]] = []
    for key, value in values.items():
        section, tree = (key, value) if isinstance(value, dict) else ("General", {key: value})
        items += [
            {"section": section, "name": name, "value": _words(leaf), "type": type(leaf).__name__}
            for name, leaf in _leaves(tree)
        ]
    return items


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, f"{prefix}{key}/")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _words(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def end(connection: Connection, task_id: str, status: str) -> None:
    """Give the task its final status, unless somebody has published it meanwhile."""
    task = connection.call("tasks.get_by_id", task=task_id)["task"]
    if task["status"] == "published" or task["status"] == status:
        return
    connection.call(ENDINGS[status], task=task_id, force=True, status_reason=status, status_message="")
