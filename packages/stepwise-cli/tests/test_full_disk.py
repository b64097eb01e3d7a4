"""A disk that fills up under a training: one line, and the last good checkpoint goes on when there is room."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_command import start_stepwise

from stepwise_cli.main import main
from stepwise_core.training.checkpoints import read_checkpoint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 450 KiB: room for two checkpoints of 100 KiB, a tokenizer and the start of a journal."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=450k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_the_run_stops_in_one_line_and_can_go_on(
    tiny_config: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "training.save_every=2", "--set", "training.keep_last=99", "--no-evaluate"]
    process = start_stepwise("train", tiny_config, *settings, "--runs-dir", small_disk, "--run-name", "full")
    with process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    last, hint = [line for line in err.splitlines() if line][-2:]
    assert re.match(
        r"error: cannot write checkpoint \S+: .*No space left on device.*; earlier .* intact", last
    )
    assert hint.startswith("  next: make room")
    checkpoints = small_disk / "full" / "checkpoints"
    assert not list(checkpoints.glob(".*"))
    step = read_checkpoint(checkpoints / "latest").state.step
    assert 2 <= step < 16
    for path in checkpoints.glob("step-*"):
        read_checkpoint(path)
    room = ["--set", "training.keep_last=1", "--no-evaluate", "--runs-dir", str(small_disk)]
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    assert main(["resume", "full", *room]) == 0
    assert f"16 steps from step {step}" in capsys.readouterr().out
    assert read_checkpoint(checkpoints / "latest").state.finished
