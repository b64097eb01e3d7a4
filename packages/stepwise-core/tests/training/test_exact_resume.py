"""Stopping and resuming changes no bit: mid-epoch, mid-accumulation, over epoch borders, with dropout on."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    Recorder,
    StopAt,
    assert_equal_checkpoints,
    resume,
    tiny_config,
    tiny_session,
    train,
    train_run,
)

from stepwise_core.runs import RunFolder, create_run
from stepwise_core.training.checkpoints import read_checkpoint
from stepwise_core.training.session import resume_session


def state_of(folder: RunFolder) -> dict[str, Any]:
    """Return where training stood at the latest checkpoint, without the time it took."""
    return {**asdict(read_checkpoint(folder.checkpoints / "latest").state), "seconds": None}


def interrupted_run(runs: Path, *changes: str, stops: tuple[int, ...]) -> tuple[RunFolder, list[Recorder]]:
    """Train a run that is stopped before these micro-batches, each counted anew, and resumed to its end."""
    session = tiny_session(runs, *changes, name="interrupted")
    parts = [train(session, StopAt(stops[0]))]
    for stop in (*stops[1:], None):
        torch.manual_seed(len(parts))  # whatever state a new process finds
        parts.append(resume(session.folder, None if stop is None else StopAt(stop)))
    return session.folder, parts


def assert_same_training(whole: tuple[RunFolder, Recorder], parts: tuple[RunFolder, list[Recorder]]) -> None:
    reference, recorder = whole
    folder, recorders = parts
    assert_equal_checkpoints(reference, folder)
    assert state_of(folder) == state_of(reference)
    losses = [(report.step, report.loss, report.gradient_norm) for r in recorders for report in r.steps]
    assert losses == [(report.step, report.loss, report.gradient_norm) for report in recorder.steps]
    validations = [report for part in recorders for report in part.validations]
    assert validations == recorder.validations
    assert [epoch for part in recorders for epoch in part.epochs] == recorder.epochs


ACCUMULATION = ("training.accumulation=3",)  # 8 batches an epoch: steps of 3, 3 and 2
TOKENS = ("training.batch_by=tokens", "training.batch_size=300", "training.accumulation=2")
PARALLEL_PATHS = ("model.attention=reference", "model.attention_dropout=0.2", "model.n_kv_heads=1")


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ((), (3,)),
        ((), (8,)),
        ((), (11,)),
        ((), (0,)),
        ((), (15,)),
        ((), (2, 0, 7)),
        (ACCUMULATION, (4,)),
        (ACCUMULATION, (8,)),
        (ACCUMULATION, (2, 1, 5)),
        (TOKENS, (3,)),
        (TOKENS, (17,)),
        (PARALLEL_PATHS, (5,)),
        (("preset=paper", "training.warmup_steps=4"), (5,)),
        (("training.precision=bfloat16",), (5,)),
    ],
    ids=[
        *("mid-epoch", "epoch border", "second epoch", "before the first step", "before the last step"),
        *(
            "resumed three times",
            "mid-accumulation",
            "accumulation at a border",
            "accumulation, resumed twice",
        ),
        *("tokens, mid-accumulation", "tokens, second epoch", "reference attention with dropout", "paper"),
        "bfloat16",
    ],
)
def test_a_stopped_and_resumed_run_is_equal_to_the_bit(
    tmp_path: Path, changes: tuple[str, ...], stops: tuple[int, ...]
) -> None:
    whole = train_run(tmp_path, *changes, name="whole")
    assert len(whole[1].epochs) == 2
    parts = interrupted_run(tmp_path, *changes, stops=stops)
    assert len(parts[1]) == len(stops) + 1
    assert_same_training(whole, parts)


def test_the_seed_and_dropout_matter(tmp_path: Path) -> None:
    """Otherwise the tests above would compare things that cannot differ."""
    losses = [
        train_run(tmp_path, *changes, name=f"run-{number}")[1].losses
        for number, changes in enumerate([(), ("training.seed=1",), ("model.dropout=0.0",)])
    ]
    assert losses[0] != losses[1]
    assert losses[0][1] != losses[2][1]


def test_training_does_not_depend_on_the_global_generator(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train_run(tmp_path, name="first")
    torch.manual_seed(2)
    torch.rand(1_000)
    second = train_run(tmp_path, name="second")
    assert_equal_checkpoints(first[0], second[0])
    assert first[1].losses == second[1].losses


EARLY_STOPPING = ("training.early_stopping=3", "logging.log_validation_every=1", "training.learning_rate=0.3",
                  "training.schedule=constant", "training.epochs=20")  # fmt: skip


def test_early_stopping_remembers_over_a_stop(tmp_path: Path) -> None:
    whole = train_run(tmp_path, *EARLY_STOPPING, name="whole")
    improved = [report.improved for report in whole[1].validations]
    assert improved[-3:] == [False] * 3, "patience is over"
    assert len(improved) < 100, "early stopping stopped it"
    parts = interrupted_run(tmp_path, *EARLY_STOPPING, stops=(len(improved) - 1,))
    assert [len(part.steps) for part in parts[1]] == [len(improved) - 1, 1]
    assert_same_training(whole, parts)


def test_a_run_without_a_checkpoint_starts_from_its_first_step(tmp_path: Path) -> None:
    """Its process was killed before the first checkpoint, perhaps while writing it."""
    whole = train_run(tmp_path, name="whole")
    killed = create_run(tmp_path, "killed", tiny_config())
    (killed.checkpoints / ".step-00000003-x1y2").mkdir(parents=True)
    assert_same_training(whole, (killed, [resume(killed)]))
    assert not list(killed.checkpoints.glob(".*")), "what the killed process left is still there"


def test_any_checkpoint_leads_to_the_same_end(tmp_path: Path) -> None:
    changes = ("training.save_every=2", "training.keep_last=9")
    whole, _ = train_run(tmp_path, *changes, name="whole")
    folder, _ = train_run(tmp_path, *changes, name="again")
    recorder = train(resume_session(folder.config(), folder, "step-00000004"))
    assert recorder.plan is not None
    assert recorder.plan.first_step == 4
    assert recorder.steps[0].step == 5
    assert_equal_checkpoints(whole, folder)


def test_a_finished_run_trains_nothing(tmp_path: Path) -> None:
    folder, _ = train_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.checkpoints.rglob("*")}
    assert resume(folder).order == ["start"]
    assert {path: path.stat().st_mtime_ns for path in folder.checkpoints.rglob("*")} == before


def test_more_epochs_continue_a_finished_run_as_if_planned(tmp_path: Path) -> None:
    constant = "training.schedule=constant"
    whole, _ = train_run(tmp_path, constant, "training.epochs=3", name="whole")
    folder, _ = train_run(tmp_path, constant, name="longer")
    recorder = train(resume_session(tiny_config(constant, "training.epochs=3").config, folder))
    assert [report.step for report in recorder.steps] == list(range(17, 25))
    assert_equal_checkpoints(whole, folder)
