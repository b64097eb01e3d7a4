"""The logger knows what it costs, tells it at the end, and is durable for who pays for it."""

import os
import time
from pathlib import Path

import pytest

from stepwise_track import ExperimentLogger, read_run
from stepwise_track.cost import CallCost


def test_figures_of_known_calls() -> None:
    cost = CallCost()
    for _ in range(98):
        cost.add(10.5e-6)
    cost.add(300.5e-6)
    cost.add(0.25)
    summary = cost.summary()
    assert summary["stepwise/log_calls"] == 100
    assert summary["stepwise/log_seconds"] == pytest.approx(98 * 10.5e-6 + 300.5e-6 + 0.25)
    assert summary["stepwise/log_seconds_median"] == pytest.approx(11e-6)
    assert summary["stepwise/log_seconds_p99"] == pytest.approx(301e-6)
    assert summary["stepwise/log_seconds_max"] == 0.25
    cost.add(0.125)
    assert cost.quantile(0.99) == 0.25, "slower than the table: the slowest stands for them"


def test_no_calls_no_figures(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path, log_code=False):
        pass
    assert read_run(tmp_path).logger_values() == {}


def test_the_run_reports_what_its_calls_took(tmp_path: Path) -> None:
    begun = time.perf_counter()
    with ExperimentLogger("p", run_dir=tmp_path, log_code=False) as logger:
        for step in range(1000):
            logger.log_training_step(1.0, step=step)
        logger.log_text("note", "x")
    values = read_run(tmp_path).logger_values()
    assert values["stepwise/log_calls"] == 1001
    assert 0 < values["stepwise/log_seconds"] < time.perf_counter() - begun
    assert 0 < values["stepwise/log_seconds_median"] <= values["stepwise/log_seconds_p99"]
    assert values["stepwise/log_seconds_p99"] <= values["stepwise/log_seconds_max"]
    assert values["stepwise/log_seconds_median"] < 1e-3


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_journal_is_on_the_disk_after_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    journal = tmp_path / "run" / "journal" / "000001.jsonl"
    synced: list[int] = []
    fsync = os.fsync

    def spy(fd: int) -> None:
        fsync(fd)
        if os.fstat(fd).st_ino == journal.stat().st_ino:
            synced.append(os.fstat(fd).st_size)

    logger = ExperimentLogger("p", run_dir=tmp_path / "run", log_code=False, durable=durable)
    monkeypatch.setattr(os, "fsync", spy)
    sizes = []
    for step in range(5):
        logger.log_training_step(1.0, step=step)
        sizes.append(journal.stat().st_size)
    assert (synced == sizes) if durable else (len(synced) < 5)
    logger.finish()


def test_an_event_that_the_disk_did_not_confirm_is_said_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ExperimentLogger("p", run_dir=tmp_path, log_code=False, durable=True, capture_console=False)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        logger.log_training_step(1.0, step=1)
    logger.log_training_step(2.0, step=2)
    logger.finish()
    journal = read_run(tmp_path)
    assert journal.damage is None
    # It was written, only not confirmed: a reader may have seen it, so it keeps its place.
    assert [(step, value) for step, value, _ in journal.series()["train/loss"]] == [(1, 1.0), (2, 2.0)]
    assert [record.event.kind for record in journal.records].count("events_lost") == 1
