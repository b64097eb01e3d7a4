"""`stepwise sync` delivers what is pending, to old and new trackers, and says how it went."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepwise_cli.main import main
from stepwise_server.testing import LocalServer
from stepwise_track import ExperimentLogger
from stepwise_track.relay import status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker of the machine that runs the test is found."""
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEPWISE_SERVER_DIR", str(tmp_path / "no-server"))
    monkeypatch.setenv("STEPWISE_RUNS_DIR", str(tmp_path / "runs"))


def make_run(folder: Path, name: str, steps: int = 20) -> Path:
    quiet = {"capture_console": False, "system_metrics": False, "log_code": False}
    with ExperimentLogger("team/dates", name, runs_dir=folder / "runs", backends=[], **quiet) as logger:  # type: ignore[arg-type]
        for step in range(1, steps + 1):
            logger.log_training_step(loss=1 / step, step=step)
    return logger.run_dir


def losses(run_dir: Path) -> list[tuple[int, float]]:
    """Read the loss as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = {path.parent for path in (run_dir / "tensorboard").rglob("*tfevents*")}
    events = EventAccumulator(str(folder), {"scalars": 0})
    events.Reload()
    (tag,) = [tag for tag in events.Tags()["scalars"] if "loss" in tag]
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_an_old_run_goes_to_a_tracker_that_never_saw_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, "old")
    for _ in range(2):
        assert main(["sync", "old", "--to", "tensorboard"]) == 0
        line = capsys.readouterr().out
        assert line.startswith("✓ old → tensorboard: ") and " records" in line
    assert losses(run_dir) == [(step, pytest.approx(1 / step)) for step in range(1, 21)]


def test_without_a_name_pending_runs_are_delivered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("never-sent", "sent", "behind"):
        make_run(tmp_path, name)
    assert main(["sync", "sent", "behind", "--to", "tensorboard"]) == 0
    with ExperimentLogger(
        "team/dates", run_dir=tmp_path / "runs" / "behind", resume_step=20, backends=[], system_metrics=False
    ) as logger:
        logger.log_training_step(loss=0.01, step=21)
    capsys.readouterr()
    assert main(["sync"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["behind"]
    assert main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("Nothing is pending in ")
    assert main(["sync", "--all", "--to", "tensorboard"]) == 0
    found = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert found == ["behind", "never-sent", "sent"]


def test_the_exit_code_says_why_nothing_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path, "mine")
    with LocalServer(tmp_path / "server") as server:
        for name, value in server.environment.items():
            if name.startswith("CLEARML_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
        assert main(["sync", "mine", "--to", "clearml"]) == 5
        line = capsys.readouterr().out
        assert line.startswith("✗ mine → clearml: rejected, 0 of ") and "next: stepwise track doctor" in line
        monkeypatch.setenv("CLEARML_API_SECRET_KEY", server.environment["CLEARML_API_SECRET_KEY"])
        assert main(["sync"]) == 0  # one that failed is pending, whatever it is called
        assert f"{server.url}/projects/" in capsys.readouterr().out
        (task,) = server.tasks("team/dates")
        assert task["status"] == "completed"
        assert server.scalars(task)["loss"]["train"] == [(s, pytest.approx(1 / s)) for s in range(1, 21)]
    make_run(tmp_path, "late")
    assert main(["sync", "late", "--to", "clearml"]) == 4
    assert "unreachable" in capsys.readouterr().out
    journal = run_dir / "journal" / "000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:5], b"x" + lines[5], *lines[6:]]))
    assert main(["sync", "mine", "--to", "tensorboard"]) == 1
    assert "✗ mine → tensorboard: damaged" in capsys.readouterr().out
    journal.write_bytes(b"broken\n")
    assert main(["sync", "mine", "--to", "tensorboard"]) == 1
    assert "holds no record" in capsys.readouterr().err


def test_the_server_of_this_machine_is_found_like_by_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stepwise_server.ops import launch
    from stepwise_server.ops.control import stop

    make_run(tmp_path, "mine")
    running = launch.detach(launch.Launch(tmp_path / "no-server", port=0))
    names = ("API_HOST", "WEB_HOST", "FILES_HOST", "API_ACCESS_KEY", "API_SECRET_KEY")
    for name in names:  # what the command sets is taken back after the test
        monkeypatch.setenv(f"CLEARML_{name}", "")
        monkeypatch.delenv(f"CLEARML_{name}")
    try:
        assert main(["sync", "mine", "--to", "clearml"]) == 0
        assert running.url in capsys.readouterr().out
    finally:
        stop(tmp_path / "no-server")


def test_wrong_names_and_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "mine")
    assert main(["sync", "mine"]) == 1
    assert "has no backend to sync with" in capsys.readouterr().err
    assert main(["sync", "mine", "--to", "tensorbord"]) == 1
    assert "there is no backend 'tensorbord'" in capsys.readouterr().err
    assert main(["sync", "mine", "--all"]) == 2
    assert main(["sync", "nobody"]) == 1


def test_ctrl_c_leaves_nothing_broken(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, "long", steps=20_000)
    command = [sys.executable, "-m", "stepwise_cli", "sync", "long", "--to", "tensorboard"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not [one for one in status(run_dir) if one.delivered]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.endswith("error: interrupted\n")
    (stand,) = status(run_dir)
    assert stand.pending > 0, "it was too quick to be interrupted"
    assert main(["sync"]) == 0
    assert [step for step, _ in losses(run_dir)] == list(range(1, 20_001))
