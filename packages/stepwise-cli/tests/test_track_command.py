"""`stepwise track status` and `doctor` say how trackers stand, and what to do."""

import json
import os
from pathlib import Path

import pytest

from stepwise_cli.main import main
from stepwise_server.testing import LocalServer
from stepwise_track import ExperimentLogger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tracker of the machine that runs the test is found."""
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEPWISE_SERVER_DIR", str(tmp_path / "no-server"))
    monkeypatch.setenv("STEPWISE_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run that no tracker has seen."""
    with ExperimentLogger(
        "team", "mine", runs_dir=tmp_path / "runs", backends=[], capture_console=False, system_metrics=False
    ) as logger:
        logger.log_table("scores", [["bleu", 0.5]], ["metric", "value"])
        logger.log_training_step(loss=0.5, step=1)
    return logger.run_dir


def point_to(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        if name.startswith("CLEARML_"):
            monkeypatch.setenv(name, value)


def test_status_shows_each_tracker_of_each_run(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "status"]) == 0
    assert capsys.readouterr().out.startswith("No tracker has anything of ")
    with LocalServer(tmp_path / "server") as server:
        point_to(server, monkeypatch)
        assert main(["sync", "mine", "--to", "tensorboard,clearml"]) == 0
        monkeypatch.setenv("WANDB_MODE", "disabled")
        assert main(["sync", "mine", "--to", "wandb"]) == 5
    capsys.readouterr()
    assert main(["track", "status", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {name: one["health"] for name, one in found.items()} == {
        "tensorboard": "ok", "clearml": "ok", "wandb": "rejected"
    }  # fmt: skip
    clearml, wandb = found["clearml"], found["wandb"]
    assert (clearml["run"], clearml["pending"], clearml["finished"]) == ("mine", 0, "completed")
    assert clearml["link"].startswith(server.url)
    assert wandb["pending"] == wandb["last_seq"] == clearml["delivered"] and "disabled" in wandb["error"]
    assert main(["track", "status", "mine", "--fidelity"]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("mine  tensorboard")]
    assert line.split()[2:5] == ["ok", f"{clearml['last_seq']}/{clearml['last_seq']}", "0"]
    assert (
        f"mine → clearml: {clearml['link']}" in text.splitlines() and "mine → wandb: W&B is disabled" in text
    )
    (table,) = [line.split() for line in text.splitlines() if "as Markdown text" in line]
    assert table == ["table", "2", "as", "Markdown", "text"]


def test_doctor_says_what_is_not_in_use_and_what_is_fine(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "doctor"]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["server"].startswith("· ") and lines["server"].endswith(
        "next: stepwise server start --detach"
    )
    assert "not configured; next: " in lines["clearml"] and "wandb login" in lines["wandb"]
    assert lines["tensorboard"].startswith("✓ ") and "mine: " in lines["latest"]


def test_doctor_reaches_the_servers_that_are_configured(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examined(code: int) -> dict[str, dict[str, str]]:
        assert main(["track", "doctor", "--json"]) == code
        return {one["subject"]: one for one in json.loads(capsys.readouterr().out)}

    with LocalServer(tmp_path / "server") as server:
        point_to(server, monkeypatch)
        found = examined(0)["clearml"]
        assert found["state"] == "fine" and server.url in found["message"] and " ms" in found["message"]
        monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
        found = examined(1)["clearml"]
        assert found["state"] == "wrong" and "refuses" in found["message"] and found["next_step"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("STEPWISE_BACKENDS", "wandb")
    findings = examined(1)
    assert {name for name, one in findings.items() if one["state"] == "wrong"} == {
        "clearml",
        "mlflow",
        "wandb",
    }
    assert "no answer" in findings["mlflow"]["message"] and "secret" not in findings["mlflow"]["message"]


def test_doctor_finds_a_damaged_journal(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = run_dir / "journal" / "000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"x" + lines[2], *lines[3:]]))
    assert main(["track", "doctor"]) == 1
    assert "line 3" in capsys.readouterr().out
