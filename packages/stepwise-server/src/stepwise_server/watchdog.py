"""Looks after what nobody reports: tasks that went silent, workers that are gone, figures that grow old."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from loguru import logger as log

from stepwise_server import clock, limits
from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import seconds_between
from stepwise_server.api.tasks.transitions import STOPPING, change_status
from stepwise_server.auth.identity import Identity
from stepwise_server.heartbeats import RUNNING
from stepwise_server.services import Services
from stepwise_server.store import entities, queue_stats, worker_stats, workers
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document

SILENT = "Forced stop (non-responsive)"
"""Status message of a task that was stopped because it was silent; pipelines and optimisers look for it."""


def start(services: Services, tick: float = limits.WATCHDOG_TICK_S) -> Callable[[], None]:
    """Watch over an open installation from a thread of its own.

    Args:
        services: the server.
        tick: seconds between two looks.

    Returns:
        What ends it: to be called before the database is closed.
    """
    end = threading.Event()
    thread = threading.Thread(target=_watch, args=(services, end, tick), name="watchdog", daemon=True)
    thread.start()

    def stop() -> None:
        end.set()
        thread.join()

    return stop


def _watch(services: Services, end: threading.Event, tick: float) -> None:
    duties: list[tuple[float, Callable[[Services], object]]] = [
        (0.0, remove_silent_workers),
        (0.0, measure_queues),
        (0.0, stop_silent_tasks),
        (limits.WATCHDOG_PRUNE_S, prune_figures),
    ]
    done = [time.monotonic()] * len(duties)
    while not end.wait(tick):
        services.heartbeats.tick(tick)
        for number, (period, duty) in enumerate(duties):
            if time.monotonic() - done[number] < period:
                continue
            done[number] = time.monotonic()
            try:
                duty(services)
            except Exception:
                log.exception("the watchdog could not {}", duty.__name__.replace("_", " "))


def stop_silent_tasks(services: Services) -> list[str]:
    """Stop the tasks that are in progress and gave no sign of life for too long; return their ids.

    Too long is `WATCHDOG_TASK_SECONDS`; for a task that somebody asked its worker to stop, as long as a worker may
    be silent: nobody is there to do it. Nothing is stopped soon after the server started or woke: processes that
    waited for it get time to report.
    """
    if datetime.now().timestamp() - services.heartbeats.listening_since < limits.WATCHDOG_GRACE_S:
        return []
    if not services.database.read(_silent_tasks):
        return []

    def stop(tx: Transaction) -> list[str]:
        ids = _silent_tasks(tx)
        for task in entities.load_many(tx, entities.TASK, ids):
            owner = Identity(task["user"], "watchdog", "admin")
            call = Call("watchdog", {}, services, identity=owner)
            changes: Document = {"completed": tx.now}
            if task.get("started"):
                changes["active_duration"] = seconds_between(task["started"], task["last_update"])
            change_status(tx, call, task, "stopped", message=SILENT, reason=SILENT, changes=changes)
        return ids

    stopped = services.database.write(stop)
    log.info("stopped {} silent tasks: {}", len(stopped), ", ".join(stopped))
    return stopped


def _silent_tasks(tx: Transaction) -> list[str]:
    return tx.column(
        "SELECT id FROM tasks WHERE status = ? AND last_update < iif(status_message = ?, ?, ?)",
        [
            RUNNING,
            STOPPING,
            clock.iso_ago(limits.WORKER_SECONDS),
            clock.iso_ago(limits.WATCHDOG_TASK_SECONDS),
        ],
    )


def remove_silent_workers(services: Services) -> list[str]:
    """Forget the workers that did not report for as long as they said, and return their ids."""
    gone = services.database.read(workers.expired)

    def remove(tx: Transaction) -> list[str]:
        expired = workers.expired(tx)
        for worker in expired:
            workers.remove(tx, worker)
        return expired

    return services.database.write(remove) if gone else []


def measure_queues(services: Services) -> None:
    """Note how long the queues are in which tasks wait: waiting alone changes nothing that would be noted."""
    waiting = services.database.read(lambda tx: tx.column("SELECT DISTINCT queue FROM queue_entries"))

    def measure(tx: Transaction) -> None:
        for queue in waiting:
            queue_stats.record(tx, queue)

    if waiting:
        services.database.write(measure)


def prune_figures(services: Services, seconds: float = limits.STATS_SECONDS) -> None:
    """Delete figures of workers and queues that are older than so many seconds."""

    def prune(tx: Transaction) -> None:
        before = clock.milliseconds(clock.iso_ago(seconds))
        worker_stats.prune(tx, before)
        queue_stats.prune(tx, before)

    services.database.write(prune)
