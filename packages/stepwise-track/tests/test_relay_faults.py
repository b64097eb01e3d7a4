"""Trackers that fail in every way: training goes on, and in the end every event has arrived exactly once."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from relay_tools import Tracker, eventually, open_logger

from stepwise_track import ExperimentLogger
from stepwise_track.relay import BackendStatus, status, sync

pytestmark = pytest.mark.slow


def log_undisturbed(logger: ExperimentLogger, count: int, first: int = 1) -> None:
    """Log so many steps, as a training would, and see that no call waits for anything."""
    for step in range(first, first + count):
        begun = time.monotonic()
        logger.log_training_step(loss=1.0 / step, learning_rate=0.1, step=step)
        assert time.monotonic() - begun < 1
        time.sleep(0.005)


def of(run_dir: Path, name: str = "recorder") -> BackendStatus:
    return next(one for one in status(run_dir) if one.name == name)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def logger(run_dir: Path, tracker: Tracker) -> ExperimentLogger:
    return open_logger(run_dir, {"recorder": tracker.options})


def test_a_tracker_that_is_not_there_at_the_start(
    logger: ExperimentLogger, run_dir: Path, tracker: Tracker, warnings: list[str]
) -> None:
    log_undisturbed(logger, 50)
    eventually(lambda: of(run_dir).failures > 1, "it is tried again")
    assert of(run_dir).health == "unreachable" and of(run_dir).pending == 51 and of(run_dir).lag_s > 0
    eventually(lambda: warnings, "one line says so")
    tracker.start()
    log_undisturbed(logger, 50, first=51)
    logger.finish()
    tracker.assert_exactly_once(run_dir)
    assert warnings == [
        "recorder is unreachable: no route to the tracker. The run goes on; it is tried again"
    ]
    assert of(run_dir).health == "ok" and tracker.finished() == ["completed"]


def test_a_tracker_that_dies_and_comes_back(
    logger: ExperimentLogger, run_dir: Path, tracker: Tracker, tmp_path: Path
) -> None:
    tracker.start()
    log_undisturbed(logger, 40)
    eventually(lambda: len(tracker.numbers()) > 10, "deliveries")
    for _ in range(2):
        tracker.folder.rename(tmp_path / "down")
        log_undisturbed(logger, 40)
        eventually(lambda: of(run_dir).health == "unreachable", "it is noticed")
        (tmp_path / "down").rename(tracker.folder)
        eventually(lambda: of(run_dir).health == "ok", "it goes on")
    logger.finish()
    tracker.assert_exactly_once(run_dir)


@pytest.mark.parametrize("place", ["call", "half", "flush"])
@pytest.mark.parametrize("do", ["unreachable", "error", "crash"])
def test_a_tracker_or_a_client_that_fails_again_and_again(
    logger: ExperimentLogger, run_dir: Path, tracker: Tracker, do: str, place: str
) -> None:
    tracker.start()
    tracker.behave(do=do, place=place, times=3)
    log_undisturbed(logger, 100)
    logger.finish()
    assert tracker.lines("mode") == [f'{{"do": "{do}", "place": "{place}", "times": 0}}']
    tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["completed"] and of(run_dir).health == "ok"


def test_a_tracker_that_hangs_is_killed_and_holds_up_no_other(
    run_dir: Path, tmp_path: Path, tracker: Tracker
) -> None:
    other = Tracker(tmp_path / "other").start()
    tracker.start().behave(do="hang", place="half", times=1)
    backends = {"recorder": tracker.options, "second": other.options}
    logger = open_logger(run_dir, backends)
    log_undisturbed(logger, 100)
    eventually(lambda: len(other.numbers()) == 101, "the other has everything")
    assert len(tracker.numbers()) < 101
    eventually(lambda: of(run_dir).failures, "the hang is noticed")
    assert "no sign of life" in of(run_dir).error
    logger.finish()
    tracker.assert_exactly_once(run_dir)
    other.assert_exactly_once(run_dir)


def test_refused_credentials_are_said_and_not_tried_again_until_asked(
    logger: ExperimentLogger, run_dir: Path, tracker: Tracker, warnings: list[str]
) -> None:
    tracker.start().behave(do="reject")
    log_undisturbed(logger, 30)
    eventually(lambda: warnings, "one line says so")
    assert warnings == ["recorder is rejected: 401 Unauthorized. The run goes on without it"]
    begun = time.monotonic()
    logger.finish()
    assert time.monotonic() - begun < 30  # nothing to wait for
    assert re.search(r"\b(\d+) of \1 events of run pending \(rejected: 401 Unauthorized\)", warnings[1])
    assert of(run_dir).failures == 1
    (one,) = sync(run_dir)
    assert (one.health, one.delivered) == ("rejected", 0)
    tracker.behave()
    (one,) = sync(run_dir)
    assert (one.health, one.pending) == ("ok", 0)
    tracker.assert_exactly_once(run_dir)


def test_finish_waits_no_longer_than_told_and_the_relay_goes_on(
    logger: ExperimentLogger, run_dir: Path, tracker: Tracker, warnings: list[str]
) -> None:
    log_undisturbed(logger, 10)
    eventually(lambda: of(run_dir).failures, "the first try")
    begun = time.monotonic()
    logger.finish(wait_s=1)
    assert time.monotonic() - begun < 10
    assert re.search(r"\b(\d+) of \1 events of run pending \(unreachable: no route", warnings[-1])
    assert warnings[-1].endswith(f"stepwise sync {run_dir}")
    tracker.start()
    eventually(lambda: tracker.finished() == ["completed"], "the relay delivers after the end")
    tracker.assert_exactly_once(run_dir)


def test_a_process_whose_trackers_hang_always_exits(run_dir: Path, tracker: Tracker) -> None:
    tracker.start().behave(do="hang")
    program = (
        "import sys; from stepwise_track import ExperimentLogger\n"
        "backends = {'recorder': {'server': sys.argv[2]}}\n"
        "logger = ExperimentLogger('p', run_dir=sys.argv[1], backends=backends, finish_wait_s=1)\n"
        "logger.log_training_step(loss=1, step=1)\n"
        "if sys.argv[3] == 'finish': logger.finish()\n"
    )
    for how, folder in [("finish", run_dir), ("no finish", run_dir.with_name("other"))]:
        command = [sys.executable, "-c", program, str(folder), str(tracker.folder), how]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        assert ("stepwise sync" in result.stderr) == (how == "finish")
    tracker.behave()
    for folder in (run_dir, run_dir.with_name("other")):
        eventually(lambda folder=folder: of(folder).pending == 0 and of(folder).finished, "all is delivered")
        tracker.assert_exactly_once(folder)
    assert sorted(tracker.finished()) == ["completed", "failed"]


def test_a_clock_that_jumps_changes_neither_order_nor_count(
    run_dir: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.start()
    real, jump = time.time, [0.0]
    monkeypatch.setattr("stepwise_track.journal.time.time", lambda: real() + jump[0])
    backends = {"recorder": tracker.options}
    logger = open_logger(run_dir, backends)
    for number, seconds in enumerate([0.0, 1e6, -1e6, 3e7, -3e7, 0.0]):
        jump[0] = seconds
        log_undisturbed(logger, 20, first=1 + 20 * number)
        assert of(run_dir).lag_s >= 0
    logger.finish()
    tracker.assert_exactly_once(run_dir)
    assert of(run_dir).lag_s >= 0
