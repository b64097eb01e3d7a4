"""`stepwise resume`: on from where a run stands, with settings that may change, and what it refuses."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.config import load_config
from stepwise_core.runs import RunFolder
from stepwise_core.training.checkpoints import read_checkpoint
from stepwise_core.verification import compare_checkpoints
from stepwise_track.reader import read_series


def stop_after_step(run: Path, step: int) -> None:
    """Send this process SIGINT as soon as the run's latest checkpoint is of that step or a later one."""
    latest = run / "checkpoints" / "latest"

    def wait() -> None:
        while not latest.is_symlink() or int(latest.readlink().name.removeprefix("step-")) < step:
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def step_of(run: Path, checkpoint: str = "latest") -> int:
    return read_checkpoint(run / "checkpoints" / checkpoint).state.step


def test_a_finished_run_is_shown_and_not_trained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert main(["resume", "--runs-dir", str(run.parent)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("run tiny is finished: 16 steps; nothing to train\n")
    assert "exact_match" in out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_a_stopped_run_goes_on_to_the_same_bits(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    options = [tiny_config, "--runs-dir", tmp_path, "--no-evaluate", "--set", "training.epochs=10"]
    assert main([str(part) for part in ("train", *options, "--run-name", "whole")]) == 0
    stop_after_step(tmp_path / "stopped", 4)
    message = fails(130, "train", *options, "--set", "training.save_every=1", "--run-name", "stopped")
    stopped_at = step_of(tmp_path / "stopped")
    assert 4 <= stopped_at < 80
    assert message.splitlines() == [
        f"error: stopped by SIGINT after step {stopped_at}; a checkpoint is saved",
        "  next: stepwise resume stopped",
    ]
    assert main(["resume", "stopped", "--no-evaluate", "--runs-dir", str(tmp_path)]) == 0
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    found = compare_checkpoints(whole / "checkpoints" / "latest", stopped / "checkpoints" / "latest")
    assert all(difference.is_zero for difference in found.values())
    for curve in ("train/loss", "validation/loss", "epoch/train_loss"):
        points = [[point[:2] for point in read_series(run)[curve]] for run in (whole, stopped)]
        assert points[0] == points[1], curve


def test_more_epochs_can_be_trained_and_are_remembered(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "training.epochs=3", "--no-evaluate", "--runs-dir", str(run.parent)]
    assert main(["resume", "tiny", *options]) == 0
    assert "24 steps from step 16" in capsys.readouterr().out
    assert step_of(run) == 24
    assert RunFolder(run).config().training.epochs == 3
    origins = json.loads((run / "config.json").read_text())["_origin"]
    assert [origins[f"training.{key}"] for key in ("epochs", "batch_size", "betas", "accumulation")] == [
        *("flag", "file tiny.yaml", "preset modern", "default"),
    ]


def test_a_changed_setting_is_kept_when_the_resumed_run_is_stopped(run: Path, fails: Fails) -> None:
    stop_after_step(run, 20)
    changes = ["--set", "training.epochs=500", "--set", "training.save_every=1"]
    fails(130, "resume", "tiny", *changes, "--runs-dir", run.parent)
    assert RunFolder(run).config().training.epochs == 500
    assert 20 <= step_of(run) < 4_000


@pytest.mark.parametrize(
    "change",
    ["model.d_model=32", "data.seed=1", "tokenizer.type=word", "preset=paper", "training.batch_size=7"],
)
def test_what_the_weights_depend_on_stays(run: Path, fails: Fails, change: str) -> None:
    before = (run / "config.json").read_bytes()
    message = fails(3, "resume", "tiny", "--set", change, "--runs-dir", run.parent)
    assert f"--set {change}: a resumed run keeps its model, tokenizer, data and batches" in message
    assert (run / "config.json").read_bytes() == before


def test_a_mistyped_change_is_explained(run: Path, fails: Fails) -> None:
    message = fails(3, "resume", "tiny", "--set", "training.epoch=3", "--runs-dir", run.parent)
    assert "did you mean `training.epochs`?" in message


def test_a_run_that_is_not_there(run: Path, fails: Fails) -> None:
    assert "no run 'moon'" in fails(1, "resume", "moon", "--runs-dir", run.parent)


def test_a_run_in_use_is_left_alone(run: Path, fails: Fails) -> None:
    with RunFolder(run).locked():
        message = fails(1, "resume", "tiny", "--set", "training.epochs=3", "--runs-dir", run.parent)
    assert message.startswith("error: run tiny is in use by another process\n")
    assert RunFolder(run).config().training.epochs == 2


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
)
def test_an_altered_checkpoint_is_refused_and_another_can_be_named(
    tiny_config: Path, tmp_path: Path, fails: Fails, name: str
) -> None:
    options = ["--runs-dir", tmp_path, "--no-evaluate"]
    settings = [
        "--set",
        "training.save_every=2",
        "--set",
        "training.keep_last=3",
        "--set",
        "training.max_steps=6",
    ]
    assert main([str(part) for part in ("train", tiny_config, *options, *settings, "--run-name", "six")]) == 0
    file = tmp_path / "six" / "checkpoints" / "step-00000006" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x04
    file.write_bytes(content)
    longer = ["--set", "training.max_steps=7"]
    message = fails(1, "resume", "six", *longer, *options)
    assert "step-00000006" in message or "latest" in message
    assert "--checkpoint" in message
    assert file.read_bytes() == content
    resumed = ["resume", "six", "--checkpoint", "step-00000004", *longer, *options]
    assert main([str(part) for part in resumed]) == 0
    assert step_of(tmp_path / "six") == 7


def test_another_vocabulary_is_refused(run: Path, fails: Fails) -> None:
    file = run / "tokenizer" / "target.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(content))
    options = ["--set", "training.epochs=3", "--runs-dir", run.parent]
    assert "vocabulary mismatch: target tokenizer" in fails(1, "resume", "tiny", *options)
    assert "vocabulary mismatch" in fails(1, "translate", "abc", "--runs-dir", run.parent)


def test_other_data_are_refused(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    lines = [letter * length for letter in "abcdefgh" for length in (2, 3, 4)]
    settings = ["--set", "data.name=parallel", "--set", "training.max_steps=1", "--no-evaluate"]
    for split in ("train", "valid", "test"):
        for side in ("source", "target"):
            file = tmp_path / f"{split}.{side}"
            file.write_text("".join(f"{line}\n" for line in lines))
            settings += ["--set", f"data.parallel.{split}_{side}={file}"]
    options = ["--runs-dir", str(tmp_path / "runs"), "--run-name", "own"]
    assert main(["train", str(tiny_config), *settings, *options]) == 0
    (tmp_path / "train.source").write_text("".join(f"{line}a\n" for line in lines))
    message = fails(6, "resume", "own", "--set", "training.max_steps=2", "--runs-dir", tmp_path / "runs")
    assert "the data changed: version" in message
    assert step_of(tmp_path / "runs" / "own") == 1


def test_a_run_without_a_checkpoint_starts(run: Path, trained: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    assert main(["resume", "tiny", "--no-evaluate", "--runs-dir", str(run.parent)]) == 0
    found = compare_checkpoints(trained / "checkpoints" / "latest", run / "checkpoints" / "latest")
    assert all(difference.is_zero for difference in found.values())


def test_the_environment_does_not_change_a_resumed_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWISE_MODEL__D_MODEL", "64")
    monkeypatch.setenv("STEPWISE_TRAINING__EPOCHS", "9")
    assert load_config(run / "config.json").config.model.d_model == 64
    assert main(["resume", "tiny", "--no-evaluate", "--runs-dir", str(run.parent)]) == 0
    assert step_of(run) == 16
