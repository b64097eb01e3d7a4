"""How runs are, from their signs of life: live, stalled, dead; never live without a sign."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stepwise_server import limits
from stepwise_server.heartbeats import Heartbeats, Pulse, State
from stepwise_server.testing import LocalServer

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("sign", "pulse", "expected"),
    [
        (5, None, "live"),
        (40, None, "live"),
        (50, None, "stalled"),
        (130, None, "dead"),
        (40, 2, "live"),
        (40, 15, "stalled"),
        (8, 15, "live"),
        (40, 400, "live"),
        (50, 1, "stalled"),
        (130, 1, "dead"),
    ],
)
def test_pulses_shorten_a_silence_and_never_end_one(
    sign: float, pulse: float | None, expected: State
) -> None:
    heartbeats = Heartbeats(listening_since=0)
    if pulse is not None:
        heartbeats.pulses["task"] = Pulse(NOW - pulse)
    assert heartbeats.state("task", "in_progress", NOW - sign, NOW) == expected


def test_a_pulse_may_be_slow() -> None:
    pulse = Pulse(NOW)
    for second in (10, 20, 22, 24):
        pulse = pulse.next(NOW + second)
    assert pulse == Pulse(NOW + 24, 2.5)
    slow = Pulse(NOW).next(NOW + 12)
    assert not slow.stopped(NOW + 12 + 30)
    assert slow.stopped(NOW + 12 + 40)
    assert slow.next(NOW + 12 + 100) == Pulse(NOW + 12 + 100)


def test_what_could_not_be_heard_is_no_death() -> None:
    heartbeats = Heartbeats(listening_since=NOW - 20)
    assert heartbeats.state("task", "in_progress", NOW - 4000, NOW) == "stalled"
    heartbeats.listening_since = NOW - limits.DEAD_SECONDS - 1
    assert heartbeats.state("task", "in_progress", NOW - 4000, NOW) == "dead"


def test_a_server_that_slept_listens_anew() -> None:
    heartbeats = Heartbeats(listening_since=1)
    heartbeats.tick(15)
    assert heartbeats.listening_since == 1
    heartbeats.ticked -= 3600
    heartbeats.tick(15)
    assert time.time() - heartbeats.listening_since < 10


def test_only_questions_of_the_own_process_are_pulses() -> None:
    heartbeats = Heartbeats()
    fields = ["status", "status_message", "id"]
    for params in (
        {"id": ["a", "b"], "only_fields": fields},
        {"id": ["a"], "only_fields": [*fields, "name"]},
        {"id": ["a"]},
        {"id": "a", "only_fields": fields},
        {"id": [["a"]], "only_fields": fields},
        {"id": ["a" * 1000], "only_fields": fields},
        {"only_fields": fields},
    ):
        heartbeats.observe(params)
    assert heartbeats.pulses == {}
    heartbeats.observe({"id": ["a"], "only_fields": fields})
    heartbeats.observe({"id": ["b"], "only_fields": fields[:2]})
    assert list(heartbeats.pulses) == ["a", "b"]


def test_pulses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PULSES", 3)
    heartbeats = Heartbeats()
    for task in "abcad":
        heartbeats.observe({"id": [task], "only_fields": ["status", "status_message"]})
    assert list(heartbeats.pulses) == ["c", "a", "d"]


def states(server: LocalServer, **params: Any) -> dict[str, dict[str, Any]]:
    return {each["task"]: each for each in server.api("stepwise.run_states", **params)["states"]}


def test_states_of_all_kinds_of_tasks(server: LocalServer) -> None:
    draft, running, done = (
        server.api("tasks.create", name=f"task {n}", type="training")["id"] for n in range(3)
    )
    server.api("tasks.started", task=running)
    server.api("tasks.started", task=done)
    server.api("tasks.completed", task=done)
    found = states(server, tasks=[draft, running, done, "unknown"])
    assert {task: each["state"] for task, each in found.items()} == {
        draft: "waiting",
        running: "live",
        done: "ended",
    }
    assert found[running]["status"] == "in_progress"
    assert 0 <= found[running]["seconds_since_sign"] < 30
    assert found[running]["last_sign"] == server.api("tasks.get_by_id", task=running)["task"]["last_update"]
    assert list(states(server)) == [running]


REPORTING = """
import sys, time
from clearml import Task
task = Task.init("runs", "one that dies", auto_connect_frameworks=False, auto_resource_monitoring=False)
print("task", task.id, flush=True)
time.sleep(300)
"""


@pytest.mark.slow
def test_a_killed_process_is_known_within_seconds(server: LocalServer, tmp_path: Path) -> None:
    script = tmp_path / "reporting.py"
    script.write_text(REPORTING)
    process = subprocess.Popen(
        [sys.executable, str(script)], env=server.environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        task = next(line.split()[1] for line in process.stdout if line.startswith("task "))
        time.sleep(limits.PULSE_SECONDS + 2)
        assert states(server)[task]["state"] == "live"
        assert task in server.services.heartbeats.pulses
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.monotonic()
    while states(server)[task]["state"] == "live":
        assert time.monotonic() - killed < limits.PULSE_SECONDS + 5
        time.sleep(0.5)
    assert states(server)[task]["state"] == "stalled"
