"""The checkpoints of a run: which are kept, where the links point, and their average."""

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import StopAt, assert_equal_checkpoints, resume, tiny_config, tiny_session, train, train_run
from torch import nn

from stepwise_core.runs import RunFolder
from stepwise_core.trained import load_run
from stepwise_core.training.checkpoints import CheckpointStore, average_checkpoints, read_checkpoint
from stepwise_core.training.session import resume_session
from stepwise_core.training.state import Identity, TrainingState


def save(store: CheckpointStore, step: int, loss: float | None, best: float | None) -> float | None:
    """Save a small model as training would, validated or not; return the best loss from now on."""
    improved = loss is not None and (best is None or loss < best)
    best = loss if improved else best
    validated_at = step if loss is not None else None
    state = TrainingState(step=step, last_validation_loss=loss, validated_at=validated_at, best_loss=best)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    path = store.save(model, optimizer, state, Identity(), best=improved)
    assert path.name == f"step-{step:08d}"
    return best


def steps_of(store: CheckpointStore) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in store.kept()]


@settings(max_examples=25, deadline=None)
@given(
    losses=st.lists(st.none() | st.integers(0, 9).map(float), min_size=1, max_size=7),
    keep_best=st.integers(1, 3),
    keep_last=st.integers(1, 3),
)
def test_the_newest_and_the_best_are_kept(losses: list[float | None], keep_best: int, keep_last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder), keep_best=keep_best, keep_last=keep_last)
        best = None
        for step, loss in enumerate(losses, start=1):
            best = save(store, step, loss, best)
        kept = steps_of(store)
        newest = list(range(1, len(losses) + 1))[-keep_last:]
        scored = sorted((loss, step) for step, loss in enumerate(losses, start=1) if loss is not None)
        assert set(newest) <= set(kept)
        # Of equal losses any may stay; what counts is that no better one went.
        found = sorted(losses[step - 1] for step in kept if losses[step - 1] is not None)[:keep_best]
        assert found == [loss for loss, _ in scored[:keep_best]]
        assert len(kept) <= keep_last + keep_best
        assert (store.folder / "latest").resolve().name == f"step-{len(losses):08d}"
        if scored:
            assert (store.folder / "best").resolve().name == f"step-{scored[0][1]:08d}"
        else:
            assert not (store.folder / "best").is_symlink()


def test_only_a_loss_measured_at_the_checkpoint_counts(tmp_path: Path) -> None:
    """Between validations the last loss is of older weights."""
    store = CheckpointStore(tmp_path, keep_best=2)
    save(store, 1, 5.0, None)
    state = TrainingState(step=2, last_validation_loss=1.0, validated_at=1)
    model = nn.Linear(1, 1)
    store.save(model, torch.optim.AdamW(model.parameters()), state, Identity(), best=False)
    save(store, 3, 4.0, 5.0)
    assert steps_of(store) == [1, 3]


def test_links_are_relative_so_that_a_run_can_be_moved(tmp_path: Path) -> None:
    folder, _ = train_run(tmp_path)
    moved = RunFolder(folder.path.rename(tmp_path / "moved"))
    assert (moved.checkpoints / "latest").readlink() == Path("step-00000016")
    assert load_run(moved.path).folder.name == "moved"


@pytest.mark.parametrize("symlinks", [True, False], ids=["links as links", "links followed"])
def test_a_copy_of_a_run_is_a_run(tmp_path: Path, symlinks: bool) -> None:
    whole, _ = train_run(tmp_path, name="whole")
    session = tiny_session(tmp_path, name="original")
    train(session, StopAt(7))
    copy = RunFolder(Path(shutil.copytree(session.folder.path, tmp_path / "copy", symlinks=symlinks)))
    resume(copy)
    assert_equal_checkpoints(whole, copy)
    assert (copy.checkpoints / "latest").is_symlink()


def test_leftovers_of_a_killed_process_are_harmless_and_go(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    train(session, StopAt(7))
    checkpoints = session.folder.checkpoints
    half = checkpoints / ".step-00000008-a1b2c3"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    (checkpoints / ".latest-123").symlink_to("step-00000008")
    assert [path.name for path in session.store.kept()] == ["step-00000006", "step-00000007"]
    assert load_run(session.folder.path, "latest").state.step == 7
    resume(session.folder)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best", "latest", "step-00000016"]


def test_the_average_is_the_mean(tmp_path: Path) -> None:
    folder, _ = train_run(tmp_path, "training.save_every=4", "training.keep_last=3")
    paths = CheckpointStore(folder.checkpoints).kept()[-3:]
    parts = [read_checkpoint(path) for path in paths]
    average_checkpoints(paths, folder.checkpoints / "averaged")
    found = read_checkpoint(folder.checkpoints / "averaged")
    assert found.optimizer == {}
    assert (found.state, found.identity) == (parts[-1].state, parts[-1].identity)
    for name, tensor in found.weights.items():
        mean = sum(part.weights[name] for part in parts) / 3
        torch.testing.assert_close(tensor, mean, msg=name)
        assert not torch.equal(tensor, parts[-1].weights[name])


def test_averaging_at_the_end_makes_the_checkpoint_that_is_used(tmp_path: Path) -> None:
    changes = ["training.average_checkpoints=3", "training.save_every=5", "training.keep_last=3"]
    folder, _ = train_run(tmp_path, *changes, "logging.log_validation_every=1000")
    names = ["step-00000010", "step-00000015", "step-00000016"]
    parts = [read_checkpoint(folder.checkpoints / name).weights for name in names]
    run = load_run(folder.path)
    assert run.checkpoint.name == "averaged"
    for name, parameter in run.model.named_parameters():
        mean = sum(part[name] for part in parts) / 3
        torch.testing.assert_close(parameter.detach(), mean, msg=name)
    assert load_run(folder.path, "latest").checkpoint.name == "step-00000016"


def test_an_average_does_not_outlive_further_training(tmp_path: Path) -> None:
    average = "training.average_checkpoints=2"
    folder, _ = train_run(tmp_path, average)
    longer = tiny_config(average, "training.epochs=9").config
    train(resume_session(longer, folder), StopAt(3))
    assert load_run(folder.path).checkpoint.name != "averaged"
    train(resume_session(longer, folder))
    run = load_run(folder.path)
    assert (run.checkpoint.name, run.state.step) == ("averaged", 72)


def test_without_averaging_the_best_is_used(tmp_path: Path) -> None:
    folder, recorder = train_run(tmp_path, "training.learning_rate=0.3", "logging.log_validation_every=1")
    best = min(recorder.validations, key=lambda report: report.loss).step
    assert best < 16, "the data cannot tell best from latest"
    assert load_run(folder.path).state.step == best
    assert load_run(folder.path, "latest").state.step == 16
