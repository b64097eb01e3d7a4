"""Readers: a resumed run has one curve, a name finds its run, and comparisons say what differs."""

import math
import os
import shutil
from pathlib import Path

import psutil
import pytest

from stepwise_track import (
    ExperimentLogger,
    TrackError,
    compare,
    list_runs,
    read_run,
    read_series,
    resolve_run,
    summarize,
)
from stepwise_track.events import ProcessId
from stepwise_track.process import is_alive, this_process
from stepwise_track.summary import best_of, direction


def train(run_dir: Path, first: int, last: int, scale: float = 1.0, resume: int | None = None) -> None:
    """Log steps as a training loop does: validation and checkpoint every 10 steps, an epoch is 20."""
    with ExperimentLogger("p", run_dir=run_dir, resume_step=resume) as logger:
        for step in range(first, last + 1):
            logger.log_training_step(loss=scale / step, learning_rate=0.1, step=step)
            if step % 10 == 0:
                logger.log_validation_step(loss=scale * 2 / step, step=step)
                logger.log_text("sample", f"{scale} at {step}", step)
            if step % 20 == 0:
                logger.log_epoch(step // 20, train_loss=scale)
        logger.log_single_value("score", scale)


def xy(run_dir: Path, name: str) -> list[tuple[float, float]]:
    return [(step, value) for step, value, _ in read_series(run_dir)[name]]


def test_a_resumed_run_has_curves_without_doubles(tmp_path: Path) -> None:
    train(tmp_path, 1, 57)
    train(tmp_path, 31, 80, scale=10.0, resume=30)
    assert xy(tmp_path, "train/loss") == [(n, (1.0 if n <= 30 else 10.0) / n) for n in range(1, 81)]
    assert xy(tmp_path, "validation/loss") == [
        (n, (2.0 if n <= 30 else 20.0) / n) for n in (10, 20, 30, 40, 50, 60, 70, 80)
    ]
    assert xy(tmp_path, "epoch/train_loss") == [(1, 1.0), (2, 10.0), (3, 10.0), (4, 10.0)]
    summary = summarize(tmp_path)
    assert (summary.steps, summary.single_values) == (80, {"score": 10.0})
    assert summary.best and (summary.best.step, summary.best.value) == (30, 2 / 30)
    train(tmp_path, 1, 20, scale=3.0, resume=0)
    assert xy(tmp_path, "train/loss") == [(n, 3.0 / n) for n in range(1, 21)]
    assert xy(tmp_path, "epoch/train_loss") == [(1, 3.0)]


def test_a_place_that_is_logged_again_after_resuming_counts_once(tmp_path: Path) -> None:
    train(tmp_path, 1, 20)
    train(tmp_path, 20, 22, scale=5.0, resume=20)  # the loop repeats the step of the checkpoint
    assert xy(tmp_path, "train/loss")[18:] == [(19, 1 / 19), (20, 0.25), (21, 5 / 21), (22, 5 / 22)]
    assert xy(tmp_path, "epoch/train_loss") == [(1, 5.0)]


def test_pauses_do_not_count_as_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    for start, resume in ((1000.0, None), (9000.0, 1)):
        clock[0] = start
        with ExperimentLogger("p", run_dir=tmp_path, resume_step=resume) as logger:
            clock[0] += 60
            logger.log_training_step(loss=1, learning_rate=1, step=1)
    summary = summarize(tmp_path)
    assert (summary.started, summary.duration) == (1000.0, 120.0)


def test_parameters_add_up(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path, config={"model": {"a": 1, "b": {"c": 2}}}) as logger:
        logger.log_hyperparameters({"model": {"b": {"d": 3}}, "seed": 4})
        logger.log_hyperparameters({"model": {"a": 5}})
    journal = read_run(tmp_path)
    for _ in range(2):  # reading twice changes nothing
        assert journal.parameters() == {"model": {"a": 5, "b": {"c": 2, "d": 3}}, "seed": 4}


def test_damage_is_shown_and_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    for name in ("good", "torn", "damaged"):
        train(tmp_path / name, 1, 9)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").write_text("")
    segments = {name: tmp_path / name / "journal" / "000001.jsonl" for name in ("torn", "damaged")}
    with segments["torn"].open("ab") as file:
        file.write(b"0123")
    segments["damaged"].write_bytes(segments["damaged"].read_bytes().replace(b'"step":5', b'"step":6'))
    found = {run.name: run for run in list_runs(tmp_path)}
    assert {name: run.status for name, run in found.items()} == {
        "good": "completed",
        "torn": "completed",
        "damaged": "damaged",
        "bare": "empty",
    }
    assert "4 bytes of an unfinished record" in str(found["torn"].problem)
    assert "line 7" in str(found["damaged"].problem) and found["damaged"].steps == 4
    with pytest.raises(TrackError, match="is damaged"):
        read_series(tmp_path / "damaged")
    with pytest.raises(TrackError, match="is damaged"):
        compare([tmp_path / "good", tmp_path / "damaged"])
    assert list_runs(tmp_path / "nowhere") == []


def test_a_process_is_recognised_by_host_id_and_start() -> None:
    me = this_process()
    assert is_alive(me)
    assert not is_alive(ProcessId(me.host, me.pid, me.started - 60))  # the id was used again
    assert is_alive(ProcessId("another-host", me.pid, me.started)) is None
    child = os.fork()
    if child == 0:
        os._exit(0)
    zombie = ProcessId(me.host, child, psutil.Process(child).create_time())
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not is_alive(zombie)
    os.waitpid(child, 0)
    assert not is_alive(zombie)


def test_a_copy_from_another_host_is_not_called_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "another-host")
        logger = ExperimentLogger("p", run_dir=tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    logger.finish()
    assert summarize(tmp_path / "copy").status == "unknown"


def test_a_name_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_dir = tmp_path / "runs"
    for name in ("alpha-1", "alpha-12", "beta"):
        ExperimentLogger("p", name, runs_dir=runs_dir).finish()
    ExperimentLogger("p", run_dir=tmp_path / "elsewhere").finish()
    os.utime(runs_dir / "alpha-1")  # touched last, but not started last
    assert resolve_run(runs_dir, "latest") == runs_dir / "beta"
    assert resolve_run(runs_dir, "alpha-1") == runs_dir / "alpha-1"
    assert resolve_run(runs_dir, "be") == runs_dir / "beta"
    assert resolve_run(runs_dir, str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    assert resolve_run("runs", "runs/beta") == Path("runs/beta")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("alpha", "'alpha' is the beginning of 2 runs", "say which: alpha-1, alpha-12"),
        ("bata", "there is no run 'bata'", "one of: beta"),
        ("zzz", "there is no run 'zzz'", "one of: beta, alpha-12, alpha-1"),
        ("", "there is no run ''", "one of: beta, alpha-12, alpha-1"),
        ("../runs", "there is no run '../runs'", "one of:"),
        ("a\nb\0", r"there is no run 'a\\nb\\x00'", "one of:"),
    ],
)
def test_a_wrong_name_gets_the_nearest(tmp_path: Path, name: str, message: str, hint: str) -> None:
    for run in ("alpha-1", "alpha-12", "beta"):
        ExperimentLogger("p", run, runs_dir=tmp_path).finish()
    with pytest.raises(TrackError, match=message) as caught:
        resolve_run(tmp_path, name)
    assert str(caught.value.hint).startswith(hint)


def test_without_runs_the_hint_is_to_train(tmp_path: Path) -> None:
    for name in ("latest", "x"):
        with pytest.raises(TrackError, match="there are no runs in") as caught:
            resolve_run(tmp_path / "nowhere", name)
        assert caught.value.hint == "stepwise train"


def test_comparing_shows_only_what_differs_and_marks_the_best(tmp_path: Path) -> None:
    configs = [
        {"model": {"d_model": 64, "n_heads": 4}, "flag": True},
        {"model": {"d_model": 128, "n_heads": 4}, "flag": 1, "extra": [1]},
    ]
    for number, config in enumerate(configs):
        with ExperimentLogger("p", f"run{number}", config, runs_dir=tmp_path) as logger:
            logger.log_validation_step(loss=0.5 - number / 10, step=1, **{"norm/a": 1})
            logger.log_validation_step(loss=0.6 - number / 10, step=2)
            logger.log_single_value("exact_match", math.nan if number else 0.9)
            logger.log_single_value("num_examples", 100 + number)
            logger.log_single_value("bleu", 30)
    result = compare([tmp_path / "run0", tmp_path / "run1"])
    assert result.parameters == {
        "model.d_model": {"run0": 64, "run1": 128},
        "flag": {"run0": True, "run1": 1},
        "extra": {"run1": [1]},
    }
    assert set(result.metrics) == {"validation/loss", "exact_match", "num_examples", "bleu"}
    assert result.metrics["validation/loss"] == {"run0": 0.6, "run1": 0.5}
    assert result.best == {
        "validation/loss": "run1"
    }  # one number is no contest, and equal ones have no winner
    with pytest.raises(TrackError, match="runs of the same name"):
        compare([tmp_path / "run0", tmp_path / "run0"])


def test_the_best_value_of_a_metric(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path) as logger:
        for step, loss in enumerate([math.nan, 3.0, 1.0, 2.0, math.inf]):
            logger.log_validation_step(loss=loss, step=step)
            logger.log_training_step(loss=loss, learning_rate=0.1, step=step)
        logger.log_epoch(1, val_loss=0.5)
        logger.log_single_value("exact_match", 0.75)
        logger.log_single_value("broken", math.nan)
    journal = read_run(tmp_path)
    low, high = best_of(journal, "validation/loss", "min"), best_of(journal, "validation/loss", "max")
    assert low and (low.value, low.step) == (1.0, 2)
    assert high and high.value == math.inf
    found = best_of(journal, "val_loss", "min")
    assert found and (found.name, found.value, found.step) == ("epoch/val_loss", 0.5, 1)
    single = best_of(journal, "exact_match", "max")
    assert single and (single.value, single.step) == (0.75, None)
    assert best_of(journal, "broken", "max") is None and best_of(journal, "nothing", "max") is None
    with pytest.raises(TrackError, match="'loss' may mean"):
        best_of(journal, "loss", "min")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("validation/loss", "min"),
        ("val_loss", "min"),
        ("test/perplexity", "min"),
        ("duration_seconds", "min"),
        ("exact_match", "max"),
        ("sacrebleu/bleu", "max"),
        ("token_accuracy", "max"),
        ("train/learning_rate", None),
        ("num_examples", None),
        ("glossary_size", None),
    ],
)
def test_the_direction_of_a_metric_is_known_or_not_claimed(metric: str, expected: str | None) -> None:
    assert direction(metric) == expected
