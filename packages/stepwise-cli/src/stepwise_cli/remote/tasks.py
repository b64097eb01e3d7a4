"""Tasks as a person handles them: named by id or by run, cloned with other settings, queued, waited for."""

import itertools
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwise_cli.options import find_run
from stepwise_cli.remote.agent import ENTRY_POINT
from stepwise_cli.remote.connection import ServerUnreachable
from stepwise_cli.remote.settings import ORIGIN, data_version_of, hyperparameters, settings_of
from stepwise_core.config import Config, load_config
from stepwise_core.errors import ConfigError
from stepwise_track.errors import TrackError

if TYPE_CHECKING:
    from stepwise_track.backends.clearml.connection import Connection

FLAG = "flag"
"""Where a setting came from that --set gave."""
ALL_KEYS = "stepwise config schema   (all keys)"
TASK_ID = re.compile(r"[0-9a-f]{32}")
POLL_S = 2.0
"""Seconds between two looks at a task that is waited for."""
OUTAGE_S = 60.0
"""Seconds that a server may be away while a task is waited for."""
ENDED = {"completed": 0, "closed": 0, "published": 0, "failed": 1, "stopped": 130}
"""Statuses of a task that is over, and the exit code of one who waited for it."""


def task_id_of(task: str, runs_dir: Path) -> str:
    """Return the id of the task that an id, a run or `latest` means.

    Raises:
        TrackError: if there is no such run, or it is not on a ClearML server.
    """
    if TASK_ID.fullmatch(task):
        return task
    from stepwise_track.relay.cursor import Cursor, cursor_path

    run = find_run(runs_dir, task)
    state = Cursor.load(cursor_path(run, "clearml")).state
    if "task" not in state:
        raise TrackError(
            f"the run {run.name} is not on a ClearML server", hint=f"stepwise sync {run} --to clearml"
        )
    return str(state["task"])


def get_task(server: "Connection", task_id: str) -> dict[str, Any]:
    """Return the document of a task.

    Raises:
        TrackError: if there is none.
    """
    found = server.call("tasks.get_all", id=[task_id], search_hidden=True)["tasks"]
    if not found:
        raise TrackError(f"there is no task {task_id} on the server", hint="stepwise remote list")
    task: dict[str, Any] = server.call("tasks.get_by_id", task=task_id)["task"]
    return task


def link(server: "Connection", task: dict[str, Any]) -> str:
    """Return where a task is seen."""
    return f"{server.web_host}/projects/{task.get('project', '*')}/tasks/{task['id']}/output/log"


def changed_settings(task: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a clone is to have otherwise: values by dotted key.

    The clone learns from the same data, in the same version, unless the overrides ask for other data.

    Raises:
        ConfigError: if the clone's settings would not be right, or the task is none of `stepwise train`.
    """
    if not str(task.get("script", {}).get("entry_point", "")).startswith(ENTRY_POINT):
        raise ConfigError(f"task {task['id']} was not made by `stepwise train`", hint="stepwise remote list")
    changes = dict(map(_pair, overrides))
    if "preset" in changes:
        raise ConfigError(
            "--set preset: a task has all its settings already, so a preset would change nothing",
            hint="--set the keys themselves; `stepwise config presets` lists them",
        )
    pinned = data_version_of(task)
    if pinned and not any(key.startswith("data") for key in changes):
        changes["data.version"] = pinned
    resolved = load_config(None, environ={}, tasks={ORIGIN: settings_of(task), FLAG: changes})
    return {key: _value(resolved.config, key) for key, origin in resolved.origins.items() if origin == FLAG}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text!r}: expected key=value, e.g. --set training.epochs=20", hint=ALL_KEYS)
    return key.strip(), value


def _value(config: Config, key: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for name in key.split("."):
        value = value[name]
    return value


def clone(server: "Connection", task: dict[str, Any], changes: dict[str, Any], name: str | None) -> str:
    """Make a task with the settings of another, but for some; return its id."""
    made = server.call(
        "tasks.clone",
        task=task["id"],
        new_task_name=name or f"Clone of {task['name']}",
        new_task_parent=task["id"],
    )
    if changes:
        server.call(
            "tasks.edit_hyper_params",
            task=made["id"],
            hyperparams=hyperparameters(changes),
            replace_hyperparams="none",
        )
    return str(made["id"])


def enqueue(server: "Connection", task_id: str, queue: str | None) -> tuple[str, bool]:
    """Queue a task; return the queue's name, and whether an agent serves it.

    Raises:
        TrackError: if there is no such queue.
    """
    queues = server.call("queues.get_all", only_fields=["id", "name"])["queues"]
    if queue is None:
        queue = str(server.call("queues.get_default")["name"])
    ids = [each["id"] for each in queues if each["name"] == queue]
    if not ids:
        names = ", ".join(sorted(each["name"] for each in queues))
        raise TrackError(f"there is no queue {queue!r} on the server", hint=f"--queue with one of: {names}")
    server.call("tasks.enqueue", task=task_id, queue=ids[0])
    workers = server.call("workers.get_all")["workers"]
    return queue, any(each.get("id") == ids[0] for worker in workers for each in worker.get("queues") or [])


def require_agent(task: dict[str, Any]) -> None:
    """Make sure that somebody will stop a task that is told to: the server only passes it on to an agent.

    Raises:
        TrackError: if no agent runs it.
    """
    if not (task.get("last_worker") or task.get("execution", {}).get("queue")):
        raise TrackError(
            f"task {task['id']} is not run by an agent, so nobody would hear that it is to stop",
            hint="press Ctrl-C where it is trained",
        )


def wait(
    server: "Connection", task_id: str, timeout: float | None, show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Wait for the end of a task, and return its document.

    Args:
        server: the server.
        task_id: the task.
        timeout: seconds to wait at most; None for as long as it takes.
        show: is shown the task again and again.

    Raises:
        TrackError: if the task is not queued, or is not over in time.
        ServerUnreachable: if the server is away for more than `OUTAGE_S`.
    """
    from stepwise_track.backends.protocol import Unreachable

    begun = heard = time.monotonic()
    while True:
        try:
            task = get_task(server, task_id)
        except Unreachable as error:
            if time.monotonic() - heard > OUTAGE_S:
                raise ServerUnreachable(
                    f"the ClearML server does not answer any more: {error}", hint="stepwise server status"
                ) from None
        else:
            heard = time.monotonic()
            show(task)
            if task["status"] in ENDED:
                return task
            if task["status"] == "created":
                raise TrackError(
                    f"task {task_id} is not queued, so it will not run",
                    hint=f"stepwise remote enqueue {task_id}",
                )
            if timeout is not None and heard - begun >= timeout:
                raise TrackError(
                    f"task {task_id} is not over after {timeout:g} seconds: {task['status']}",
                    hint=f"stepwise remote wait {task_id}, or stepwise remote stop {task_id}",
                )
        time.sleep(POLL_S if timeout is None else max(0.05, min(POLL_S, begun + timeout - time.monotonic())))


def last_error(server: "Connection", task_id: str) -> list[str]:
    """Return what a run of ours said last about why it ended: its `error: …` and what follows; empty if nothing."""
    page = server.call("events.get_task_log", task=task_id, navigate_earlier=True, batch_size=100)
    newest = sorted(page["events"], key=lambda event: event["timestamp"])
    lines = "\n".join(event["msg"] for event in newest).splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not begins:
        return []
    rest = itertools.takewhile(lambda line: line.startswith("  "), lines[begins[-1] + 1 :])
    return [lines[begins[-1]], *rest]


def list_tasks(server: "Connection", number: int) -> list[dict[str, Any]]:
    """Return the newest tasks that `stepwise train` made."""
    tasks: list[dict[str, Any]] = server.call(
        "tasks.get_all_ex",
        _all_={"fields": ["script.entry_point"], "pattern": f"^{ENTRY_POINT}"},
        order_by=["-last_update"],
        page=0,
        page_size=number,
        only_fields=[
            "id",
            "name",
            "status",
            "project.name",
            "last_iteration",
            "last_update",
            "status_reason",
        ],
    )["tasks"]
    return tasks
