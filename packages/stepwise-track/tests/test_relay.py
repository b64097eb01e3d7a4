"""The relay in good weather: everything arrives once, in order, and what a tracker was told can be looked up."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from relay_tools import Tracker, eventually, open_logger

from stepwise_track import ExperimentLogger, JournalWriter, TrackError, limits, read_series
from stepwise_track.events import RunStarted
from stepwise_track.process import this_process
from stepwise_track.relay import keeper, status, sync


def log_steps(logger: ExperimentLogger, first: int, last: int) -> None:
    for step in range(first, last + 1):
        logger.log_training_step(loss=1.0 / step, learning_rate=0.1, step=step)


def test_everything_arrives_once_and_in_order(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    run_dir = tmp_path / "run"
    with open_logger(run_dir, {"recorder": tracker.options}) as logger:
        log_steps(logger, 1, 55)
        logger.log_table("t", [[1, 2]], ["a", "b"])
        logger.log_histogram("h", [1.0, 2.0])
        logger.log_histogram("h", [1.0, 2.0])
    tracker.assert_exactly_once(run_dir, without=frozenset({"table"}))
    assert tracker.finished() == ["completed"]
    (one,) = status(run_dir)
    assert (one.name, one.pending, one.health, one.finished) == ("recorder", 0, "ok", "completed")
    assert one.degraded == {"histogram: as a number": 2, "table: left out, no tables here": 1}
    assert one.fidelity == {"table": "not kept"}
    assert one.busy_s > 0 and one.lag_s >= 0


def test_with_no_backends_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWISE_BACKENDS", "local")
    with ExperimentLogger("p", run_dir=tmp_path) as logger:
        log_steps(logger, 1, 3)
    assert not (tmp_path / "relay").exists() and status(tmp_path) == []
    with pytest.raises(TrackError, match="has no backend to sync with"):
        sync(tmp_path)
    assert sync(tmp_path, ["local"]) == []
    with pytest.raises(TrackError, match="holds no journal"):
        sync(tmp_path / "nowhere", ["tensorboard"])


def test_an_unknown_backend_is_an_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrackError, match="no backend 'clearm'") as caught:
        ExperimentLogger("p", run_dir=tmp_path / "run", backends=["clearm"])
    assert "clearml" in str(caught.value.hint)
    monkeypatch.setenv("STEPWISE_BACKENDS", "tensorboard, nonsense")
    with pytest.raises(TrackError, match="no backend 'nonsense'"):
        ExperimentLogger("p", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_option_that_may_be_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackError, match="'api_key' of backend 'wandb' may be a secret"):
        ExperimentLogger("p", run_dir=tmp_path / "run", backends={"wandb": {"api_key": "abc"}})
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_one_line_and_the_run_goes_on(
    tmp_path: Path, tracker: Tracker, warnings: list[str]
) -> None:
    tracker.start()
    backends = {"incomplete": {}, "recorder": tracker.options}
    logger = open_logger(tmp_path / "run", backends)
    eventually(lambda: warnings, "a warning")
    log_steps(logger, 1, 5)
    logger.finish(wait_s=60)
    tracker.assert_exactly_once(tmp_path / "run")
    assert "incomplete is missing: backend incomplete cannot be loaded" in warnings[0]
    assert "module_that_is_not_there" in warnings[0]
    assert len(warnings) == 2 and re.search(r"\b(\d+) of \1 events of run pending", warnings[1])
    assert warnings[1].endswith(f"stepwise sync {tmp_path / 'run'}")


def test_an_old_run_can_be_sent_anywhere_and_as_often_as_one_likes(tmp_path: Path, tracker: Tracker) -> None:
    with open_logger(tmp_path / "run", {}) as logger:
        log_steps(logger, 1, 50)
    tracker.start()
    seen: list[int] = []
    for _ in range(2):
        (one,) = sync(
            tmp_path / "run", {"recorder": tracker.options}, lambda now: seen.append(now[0].delivered)
        )
        assert (one.pending, one.finished) == (0, "completed")
    tracker.assert_exactly_once(tmp_path / "run")
    assert tracker.finished() == ["completed"]
    assert tracker.lines("calls.txt").count("open") == 1
    assert seen == sorted(seen) and seen[-1] == 53
    (one,) = sync(tmp_path / "run", {"second": tracker.options})
    assert one.name == "second" and one.pending == 0
    assert {one.name for one in status(tmp_path / "run")} == {"recorder", "second"}


def test_a_resumed_run_goes_on_and_every_attempt_is_kept(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    backends = {"recorder": tracker.options}
    with open_logger(tmp_path / "run", backends) as logger:
        log_steps(logger, 1, 10)
    with open_logger(tmp_path / "run", backends, resume_step=6) as logger:
        log_steps(logger, 7, 12)
    tracker.assert_exactly_once(tmp_path / "run")
    assert tracker.finished() == ["completed", "completed"]
    steps = [tuple(line.split()[2:]) for line in tracker.lines() if " scalars " in line]
    assert steps == [(str(step), "0") for step in range(1, 11)] + [(str(step), "1") for step in range(7, 13)]


def test_a_sync_during_the_run_takes_over_and_hands_back(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    logger = open_logger(tmp_path / "run", {"recorder": tracker.options})
    log_steps(logger, 1, 30)
    (one,) = sync(tmp_path / "run")
    assert one.delivered >= 31 and one.finished is None
    log_steps(logger, 31, 60)
    logger.finish(wait_s=60)
    tracker.assert_exactly_once(tmp_path / "run")
    assert tracker.finished() == ["completed"]


def test_how_far_behind_a_backend_is_becomes_a_metric_of_the_run(
    tmp_path: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_METRICS_S", 0.5)
    monkeypatch.setattr(limits, "RELAY_CHECK_S", 0.05)
    tracker.start()
    with open_logger(tmp_path / "run", {"recorder": tracker.options}) as logger:
        log_steps(logger, 1, 10)
        eventually(lambda: "stepwise/recorder_lag_seconds" in read_series(tmp_path / "run"), "a report")
    series = read_series(tmp_path / "run")
    lags = series["stepwise/recorder_lag_seconds"]
    assert len(lags) > 1 and all(lag >= 0 for _, lag, _ in lags)  # no curve with a single point
    assert {"stepwise/recorder_pending", "stepwise/recorder_busy_seconds"} <= series.keys()
    tracker.assert_exactly_once(tmp_path / "run")


def test_secrets_of_a_tracker_stay_out_of_the_run_folder(
    tmp_path: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "abc123def456ghi789"
    monkeypatch.setenv("TRACKER_API_KEY", secret)
    tracker.start().behave(do="babble")
    with open_logger(tmp_path / "run", {}) as logger:
        log_steps(logger, 1, 3)
    (one,) = sync(tmp_path / "run", {"recorder": tracker.options})
    assert one.health == "failing" and one.error == "RuntimeError: cannot log in with ***"
    log_text = (tmp_path / "run" / "relay" / "relay.log").read_text()
    assert "my key is ***" in log_text and "cannot log in with ***" in log_text
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_writer_is_not_taken_for_dead_because_the_clock_was_set(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    here = this_process()
    elsewhen = replace(here, started=here.started - 5000)  # its start, as told before the clock was set
    writer = JournalWriter(tmp_path / "journal")
    writer.append(RunStarted("p", "n", "model", "data", elsewhen))
    (one,) = sync(tmp_path, {"recorder": tracker.options})
    assert (one.pending, one.finished) == (0, None)
    writer.close()
    (one,) = sync(tmp_path, {"recorder": tracker.options})
    assert one.finished == "failed"


def test_a_damaged_journal_is_delivered_up_to_the_damage(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    with open_logger(tmp_path, {}) as logger:
        log_steps(logger, 1, 40)
    segment = tmp_path / "journal" / "000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"step":35', b'"step":36'))
    (one,) = sync(tmp_path, {"recorder": tracker.options})
    assert one.health == "damaged" and str(segment) in one.error
    assert tracker.numbers() == [*range(1, 36)] and one.delivered == 35


def test_an_older_copy_of_a_run_is_not_taken_for_the_run(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    with open_logger(tmp_path, {}) as logger:
        log_steps(logger, 1, 40)
    sync(tmp_path, {"recorder": tracker.options})
    segment = tmp_path / "journal" / "000001.jsonl"
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:20]))
    with open_logger(tmp_path, {}, resume_step=5) as logger:
        log_steps(logger, 6, 8)
    (one,) = sync(tmp_path)
    assert one.health == "damaged" and "it is an older copy" in one.error


def test_a_relay_that_cannot_start_is_one_line_and_not_a_storm_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    started = tmp_path / "started"
    program = f"open({str(started)!r}, 'a').write('x'); import module_that_is_not_there"
    monkeypatch.setattr(keeper, "relay_command", lambda *_: [sys.executable, "-c", program])
    monkeypatch.setattr(limits, "RELAY_CHECK_S", 0.01)
    monkeypatch.setattr(limits, "RETRY_FIRST_S", 0.3)
    with open_logger(tmp_path / "run", {"tensorboard": {}}, finish_wait_s=2) as logger:
        log_steps(logger, 1, 10)
    assert len(warnings) == 2 and warnings[0].startswith("the relay fails: see ")
    assert re.match(r"tensorboard: (\d+) of \1 events of run pending \(new\); ", warnings[1])
    assert 2 <= len(started.read_text()) <= 5
    assert "module_that_is_not_there" in (tmp_path / "run" / "relay" / "relay.log").read_text()
