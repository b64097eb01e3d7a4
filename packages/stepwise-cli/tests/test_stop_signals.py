"""Signals to a real training: the first saves and leaves with 130, the second leaves at once."""

import signal
import time
from pathlib import Path

import pytest
from tiny_command import Fails, start_stepwise

from stepwise_core.runs import RunFolder
from stepwise_core.training.checkpoints import read_checkpoint

ENDLESS = ("--set", "training.epochs=100000", "--set", "training.save_every=5", "--no-evaluate")
SLOW = ("--set", "model.d_model=256", "--set", "model.n_layers=6", "--set", "data.n_train=4000",
        "--set", "training.batch_size=1000", "--no-evaluate")  # fmt: skip
"""Seconds for every step."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    tiny_config: Path, tmp_path: Path, fails: Fails, number: signal.Signals
) -> None:
    """Meanwhile nobody else may write the run."""
    run = tmp_path / "long"
    process = start_stepwise("train", tiny_config, "--runs-dir", tmp_path, "--run-name", "long", *ENDLESS)
    with process:
        while not (run / "checkpoints" / "latest").exists():
            assert process.poll() is None
            time.sleep(0.01)
        message = fails(1, "resume", "long", "--runs-dir", tmp_path)
        assert message.startswith("error: run long is in use by another process\n")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    step = read_checkpoint(run / "checkpoints" / "latest").state.step
    assert err.split("\n", 1)[1].splitlines() == [
        "stopping: saving a checkpoint; press Ctrl-C again to leave at once",
        f"error: stopped by {number.name} after step {step}; a checkpoint is saved",
        "  next: stepwise resume long",
    ]
    assert not list((run / "checkpoints").glob(".*"))
    with RunFolder(run).locked():  # free again
        pass


def test_a_second_signal_leaves_at_once(tiny_config: Path, tmp_path: Path) -> None:
    process = start_stepwise("train", tiny_config, "--runs-dir", tmp_path, "--run-name", "slow", *SLOW)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert " steps from the start" in process.stdout.readline()
        time.sleep(0.5)  # into the first step: between two batches it would save at once
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith("stopping: saving a checkpoint")
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(timeout=60) == 130
        assert time.monotonic() - started < 1.0
    assert not (tmp_path / "slow" / "checkpoints").exists(), "it stayed to save"
