"""The small parts of the relay: cursors that are whole or old, pauses that grow, a log that stays short."""

import json
import resource
from dataclasses import asdict
from pathlib import Path

import pytest

from stepwise_track import limits
from stepwise_track.backends import load_backend, wanted_backends
from stepwise_track.backends.local import LocalBackend
from stepwise_track.backends.protocol import Delivery
from stepwise_track.events import ProcessId, RunFinished, RunResumed, RunStarted, Text
from stepwise_track.relay.cursor import Cursor, cursor_path, retry_delay
from stepwise_track.relay.log import RelayLog

PROCESS = ProcessId("host", 1, 2.0)


def test_a_cursor_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = cursor_path(tmp_path, "recorder")
    assert Cursor.load(path) == Cursor()
    cursor = Cursor("j", state={"sizes": {"0": 7}}, degraded={"table: as text": 2})
    events = [
        RunStarted("p", "n", "m", "d", PROCESS),
        Text("note", "x"),
        RunFinished("failed"),
        RunResumed(3, PROCESS),
    ]
    attempts = [0, 0, 0, 1]
    batch = [
        Delivery("j", seq, 100.0, event, attempt)
        for seq, (event, attempt) in enumerate(zip(events, attempts, strict=True), start=1)
    ]
    cursor.advance(batch[:3], 0.5)
    assert (cursor.ended, cursor.delivered, cursor.attempt, cursor.batches) == ("failed", 3, 0, 1)
    cursor.finished = "failed"
    cursor.advance(batch[3:], 0.25)
    assert (cursor.ended, cursor.finished, cursor.process, cursor.attempt) == (None, None, PROCESS, 1)
    assert cursor.busy_s == 0.75 and cursor.health == "ok"
    cursor.save(path)
    assert Cursor.load(path) == cursor
    path.write_text(json.dumps(asdict(cursor) | {"of_a_newer_version": 1}))
    assert Cursor.load(path) == cursor


def test_a_cursor_that_cannot_be_written_stays_the_old_one(tmp_path: Path) -> None:
    path = cursor_path(tmp_path, "recorder")
    Cursor("j", delivered=1).save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Cursor("j", delivered=2).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Cursor.load(path).delivered == 1
    assert list(path.parent.iterdir()) == [path]


def test_failures_are_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_PASSWORD", "correct-horse")
    cursor = Cursor()
    cursor.fail("unreachable", "no\n  answer for correct-horse\n", 5.0)
    assert cursor.error == "no answer for ***" and cursor.failures == 1 and cursor.next_retry
    cursor.fail("rejected", ValueError(), None)
    assert (cursor.error, cursor.failures, cursor.next_retry) == ("ValueError", 2, None)
    cursor.succeed()
    assert (cursor.health, cursor.error, cursor.failures) == ("ok", "", 0)


def test_pauses_grow_to_a_limit_and_vary() -> None:
    for failures, middle in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (5000, 60.0)]:
        delays = {retry_delay(failures) for _ in range(50)}
        assert len(delays) > 1
        assert all(0.75 * middle <= delay <= 1.25 * middle for delay in delays)


def test_the_log_stays_short_and_keeps_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RELAY_LOG_BYTES", 1000)
    (tmp_path / "relay").mkdir()
    log = RelayLog(tmp_path)
    for number in range(500):
        log.write(f"line {number}\n")
    files = sorted((tmp_path / "relay").iterdir())
    assert [path.name for path in files] == ["relay.log", "relay.log.1"]
    assert all(path.stat().st_size < 1100 for path in files)
    lines = (files[1].read_text() + files[0].read_text()).splitlines()
    assert lines == [f"line {number}" for number in range(500 - len(lines), 500)]


def test_names_and_options_of_backends_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWISE_BACKENDS", "tensorboard, wandb,")
    assert wanted_backends(None) == {"tensorboard": {}, "wandb": {}}
    assert wanted_backends([]) == {}
    assert wanted_backends("mlflow") == wanted_backends(["mlflow", "local"]) == {"mlflow": {}}
    options = {"tensorboard": {"logdir": Path("logs")}, "wandb": None}
    assert wanted_backends(options) == {"tensorboard": {"logdir": "logs"}, "wandb": {}}
    assert load_backend("local") is LocalBackend and not LocalBackend.fidelity
