"""This process as one that clearml-agent started: it takes its settings from the task, and stops when told to.

An agent that is to abort a task kills its processes, unless the task's runtime properties say that they stop by
themselves: then it waits. That is what the SDK's `register_abort_callback` arranges, and what is done here.
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from loguru import logger as log

from stepwise_cli.remote.connection import connected
from stepwise_cli.remote.settings import ORIGIN, settings_of
from stepwise_core.config import Config

TASK = "CLEARML_TASK_ID"
"""Environment variable by which an agent tells which task it runs."""

ENTRY_POINT = "-m stepwise_cli train"
"""How a run of ours is started again; all of its settings are hyperparameters of the task."""

STOP_POLL_S = 2.0
"""Seconds between two looks whether the task is to stop."""

STOP_WAIT_S = 300.0
"""Seconds that an agent waits for a task to stop by itself: a checkpoint has to be written and sent."""

FINISH_WAIT_S = 240.0
"""Seconds that the end of a run waits for its trackers: an agent ends what is left when the process is gone."""

EXPECTED = ("created", "queued", "in_progress")
"""Statuses of a task that is not to stop."""


def agents_task() -> str | None:
    """Return the id of the task that an agent runs this process for; None elsewhere."""
    return os.environ.get(TASK) or None


def edited_settings() -> Mapping[str, Mapping[str, str]]:
    """Return the settings of the agent's task as they are on the server now, by their origin; none elsewhere.

    Raises:
        TrackError: if the server does not answer, or refuses.
    """
    task_id = agents_task()
    if task_id is None:
        return {}
    with connected() as server:
        task = server.call("tasks.get_by_id", task=task_id)["task"]
        if not str(task.get("script", {}).get("entry_point", "")).startswith(ENTRY_POINT):
            return {}  # a task of something else, which calls us: its hyperparameters are not ours
        stopping = {
            "_abort_callback_timeout": STOP_WAIT_S,
            "_abort_poll_freq": STOP_POLL_S,
            "_abort_callback_completed": "",
        }
        server.call("tasks.edit", task=task_id, force=True, runtime={**task.get("runtime", {}), **stopping})
    return {ORIGIN: settings_of(task)}


def run_name_of(config: Config) -> str | None:
    """Return the name of the run folder of an agent's task: a clone's experiment is named like its original's."""
    task_id, name = agents_task(), config.logging.experiment_name
    return f"{name[:150]}-{task_id[:8]}-{datetime.now():%Y%m%d-%H%M%S}" if task_id and name else None


@contextmanager
def stopping_when_told() -> Iterator[None]:
    """Send this process SIGTERM once its task is to stop; nothing where there is no agent."""
    task_id = agents_task()
    if task_id is None:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(task_id, over), name="stop-watch", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join(STOP_POLL_S)


def _watch(task_id: str, over: threading.Event) -> None:
    while not over.wait(STOP_POLL_S):
        try:
            with connected() as server:
                while not over.wait(STOP_POLL_S):
                    task = server.call("tasks.get_by_id", task=task_id)["task"]
                    told = "stopping" in (task.get("status_message") or "")
                    if (told or task["status"] not in EXPECTED) and not over.is_set():
                        os.kill(os.getpid(), signal.SIGTERM)
                        return
        except Exception as error:  # the server may be away for a while; the training is not to suffer
            log.info("cannot look whether the task is to stop: {}", error)
