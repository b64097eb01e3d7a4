"""The watchdog: silent tasks are stopped, with the words that clients look for; living ones are left alone."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwise_server import watchdog
from stepwise_server.testing import LocalServer

HOUR = 3600


@pytest.fixture(autouse=True)
def awake(server: LocalServer) -> Iterator[None]:
    """The server has listened for a day, as far as it knows."""
    heartbeats = server.services.heartbeats
    before, heartbeats.listening_since = heartbeats.listening_since, time.time() - 24 * HOUR
    yield
    heartbeats.listening_since = before


def running(server: LocalServer) -> str:
    task: str = server.api("tasks.create", name="a run", type="training")["id"]
    server.api("tasks.started", task=task)
    return task


def age(server: LocalServer, task: str, seconds: int) -> None:
    """Let a task's start and last sign of life be so many seconds older."""
    earlier = "strftime('%Y-%m-%dT%H:%M:%f000+00:00', {0}, ?)"
    columns = ", ".join(f"{column} = {earlier.format(column)}" for column in ("started", "last_update"))
    values = [f"-{seconds} seconds"] * 2
    server.services.database.write(
        lambda tx: tx.execute(f"UPDATE tasks SET {columns} WHERE id = ?", [*values, task])
    )


def stored(server: LocalServer, task: str) -> dict[str, Any]:
    found: dict[str, Any] = server.api("tasks.get_by_id", task=task)["task"]
    return found


def test_a_silent_task_is_stopped(server: LocalServer) -> None:
    silent, living, draft = (
        running(server),
        running(server),
        server.api("tasks.create", name="abc", type="qc"),
    )
    age(server, silent, 3 * HOUR)
    age(server, living, HOUR)
    age(server, draft["id"], 3 * HOUR)
    server.api("tasks.edit", task=silent, force=True, comment="a label is no sign of life")
    assert watchdog.stop_silent_tasks(server.services) == [silent]
    task = stored(server, silent)
    assert task["status"] == "stopped"
    assert task["status_message"] == task["status_reason"] == "Forced stop (non-responsive)"
    assert task["completed"] == task["status_changed"]
    assert task["active_duration"] == 0, "the silence is no work"
    assert stored(server, living)["status"] == "in_progress"
    assert stored(server, draft["id"])["status"] == "created"
    assert watchdog.stop_silent_tasks(server.services) == []


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [("tasks.ping", {}), ("workers.status_report", {"worker": "w", "timestamp": 1})],
)
def test_a_sign_of_life_keeps_it_away(server: LocalServer, endpoint: str, params: dict[str, Any]) -> None:
    task = running(server)
    age(server, task, 3 * HOUR)
    server.api(endpoint, task=task, **params)
    assert watchdog.stop_silent_tasks(server.services) == []
    server.api("tasks.stopped", task=task)


def test_events_keep_it_away(server: LocalServer) -> None:
    task = running(server)
    age(server, task, 3 * HOUR)
    server.events({"type": "log", "task": task, "msg": "still there"})
    assert watchdog.stop_silent_tasks(server.services) == []
    server.api("tasks.stopped", task=task)


def test_who_waited_for_the_server_gets_time_to_report(server: LocalServer) -> None:
    task = running(server)
    age(server, task, 3 * HOUR)
    server.services.heartbeats.listening_since = time.time() - 60
    assert watchdog.stop_silent_tasks(server.services) == []
    server.services.heartbeats.listening_since = time.time() - HOUR
    assert watchdog.stop_silent_tasks(server.services) == [task]


def test_a_request_to_stop_that_nobody_hears_is_carried_out(server: LocalServer) -> None:
    heard, unheard = running(server), running(server)
    for task in (heard, unheard):
        server.api("workers.status_report", worker="w", timestamp=1, task=task)
        assert server.api("tasks.stop", task=task)["fields"]["status"] == "in_progress"
    age(server, heard, 500)
    age(server, unheard, 700)
    assert watchdog.stop_silent_tasks(server.services) == [unheard]
    assert stored(server, unheard)["status"] == "stopped"
    server.api("tasks.stopped", task=heard)


def test_it_runs_by_itself(server: LocalServer) -> None:
    task = running(server)
    age(server, task, 3 * HOUR)
    queue = server.api("queues.create", name="where one waits")["id"]
    waiting = server.api("tasks.create", name="one that waits", type="training")["id"]
    server.api("tasks.enqueue", task=waiting, queue=queue)
    server.api("workers.register", worker="gone", timeout=1)
    stop = watchdog.start(server.services, tick=0.1)
    try:
        give_up = time.monotonic() + 20
        while stored(server, task)["status"] == "in_progress" and time.monotonic() < give_up:
            time.sleep(0.1)
        assert stored(server, task)["status"] == "stopped"
        while server.services.database.read(
            lambda tx: tx.value("SELECT count(*) FROM workers WHERE id = 'gone'")
        ):
            assert time.monotonic() < give_up
            time.sleep(0.1)
        metrics = {
            "queue_ids": [queue],
            "from_date": time.time() - 60,
            "to_date": time.time() + 60,
            "interval": 1,
        }
        while len(server.api("queues.get_queue_metrics", **metrics)["queues"][0]["dates"]) < 3:
            assert time.monotonic() < give_up
            time.sleep(0.1)
    finally:
        stop()


def test_a_duty_that_fails_does_not_end_it(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(_: object) -> None:
        calls.append(1)
        raise OSError("disk full")

    monkeypatch.setattr(watchdog, "measure_queues", fail)
    stop = watchdog.start(server.services, tick=0.01)
    give_up = time.monotonic() + 20
    while len(calls) < 3 and time.monotonic() < give_up:
        time.sleep(0.01)
    stop()
    assert len(calls) >= 3


def test_a_server_has_one_and_ends_it(tmp_path: Path) -> None:
    def dogs() -> int:
        return sum(thread.name == "watchdog" for thread in threading.enumerate())

    before = dogs()
    with LocalServer(tmp_path):
        assert dogs() == before + 1
    assert dogs() == before
