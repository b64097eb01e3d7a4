"""A run on its way to a real ClearML-compatible server: what arrives where, once, whatever happens."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepwise_server.testing import LocalServer
from stepwise_track import ExperimentLogger
from stepwise_track.relay import status, sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

READ_WITH_THE_SDK = """
import hashlib, json, sys
from clearml import Task

task = Task.get_task(task_id=sys.argv[1])
model = task.models["output"][0]
print("READ", json.dumps({
    "status": task.status, "tags": task.get_tags(), "comment": task.comment,
    "parameters": task.get_parameters(),
    "configuration": task.get_configuration_object("config.yaml"),
    "scalars": task.get_reported_scalars(),
    "single": task.get_reported_single_values(),
    "plots": sorted({each["metric"] for each in task.get_reported_plots()}),
    "console": "".join(task.get_reported_console_output(100)),
    "artifact": hashlib.sha256(open(task.artifacts["data"].get_local_copy(), "rb").read()).hexdigest(),
    "model": hashlib.sha256(open(model.get_local_copy(), "rb").read()).hexdigest(),
    "model_tags": model.tags, "framework": model.framework, "metadata": model.get_all_metadata(),
    "entry": task.data.script.entry_point, "packages": "numpy" in task.data.script.requirements["pip"],
}))
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    with LocalServer(tmp_path / "server") as running:
        point_to(running, monkeypatch)
        yield running


def point_to(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        if name.startswith("CLEARML_"):
            monkeypatch.setenv(name, value)


def the_task(server: LocalServer) -> dict[str, Any]:
    """Return the one task that there is."""
    [task] = server.api("tasks.get_all", search_hidden=True)["tasks"]
    return dict(server.api("tasks.get_by_id", task=task["id"])["task"])


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def log_everything(folder: Path) -> ExperimentLogger:
    weights = folder / "weights.bin"
    weights.write_bytes(b"weights" * 1000)
    with ExperimentLogger(
        "team/dates",
        "everything",
        {"training": {"learning_rate": 1e-3}, "seed": 3},
        ["blue"],
        "does it arrive?",
        run_dir=folder / "run",
        backends=["clearml"],
        capture_console=False,
        system_metrics=False,
    ) as logger:
        for step in range(1, 51):
            logger.log_training_step(1.0 / step, 1e-3, step=step, epoch=1)
        logger.log_training_step(float("nan"), step=51)
        logger.log_validation_step(0.5, step=50)
        logger.log_custom_metric("Training Progress/token_recall", 0.25, step=7)
        logger.log_single_value("exact_match", 0.99)
        logger.log_table("Final Metrics", [["exact_match", 0.99]], ["Metric", "Value"])
        logger.log_image("attention", np.zeros((8, 8, 3), dtype=np.uint8), step=50)
        logger.log_histogram("weights/encoder", np.arange(100.0), step=50)
        logger.log_text("sample", "ein Text ü", step=50)
        logger.log_artifact("data", weights)
        logger.log_checkpoint(None, None, 1, 50, 0.5, filepath=weights, is_best=True)
    return logger


def test_everything_is_found_where_the_metrics_guide_says(server: LocalServer, tmp_path: Path) -> None:
    log_everything(tmp_path)
    task = the_task(server)
    script = tmp_path / "read.py"
    script.write_text(READ_WITH_THE_SDK)
    environment = {**os.environ, "HOME": str(tmp_path), "CLEARML_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(script), task["id"]],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads(done.stdout.rpartition("READ ")[2])
    digest = hashlib.sha256(b"weights" * 1000).hexdigest()
    assert (read["status"], read["tags"], read["comment"]) == ("completed", ["blue"], "does it arrive?")
    assert read["parameters"] == {"training/learning_rate": "0.001", "General/seed": "3"}
    assert read["scalars"]["loss"]["train"]["x"] == list(range(1, 51))
    assert read["scalars"]["loss"]["train"]["y"][:2] == [1.0, 0.5]
    assert read["scalars"]["loss"]["validation"] == {"name": "validation", "x": [50], "y": [0.5]}
    assert read["scalars"]["Training Progress"]["token_recall"]["x"] == [7]
    assert read["single"]["exact_match"] == 0.99
    assert {"Final Metrics", "weights"} <= set(read["plots"])
    assert "ein Text ü" in read["console"] and "train/loss at step 51 is nan" in read["console"]
    assert read["artifact"] == read["model"] == digest
    assert {"best", "checkpoint"} <= set(read["model_tags"]) and read["framework"] == "PyTorch"
    assert read["metadata"]["step"]["value"] == "50" and read["packages"]
    [shown] = status(tmp_path / "run")
    assert (shown.pending, shown.finished) == (0, "completed")


def test_a_server_that_dies_and_comes_back_gets_each_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalServer(tmp_path / "server") as server:
        port = server.port
        point_to(server, monkeypatch)
        logger = ExperimentLogger(
            "team", "outage", run_dir=tmp_path / "run", backends=["clearml"], capture_console=False,
            system_metrics=False,
        )  # fmt: skip
        for step in range(1, 21):
            logger.log_training_step(0.5, step=step)
            logger.log_text("line", f"number {step}", step=step)
        until(lambda: status(tmp_path / "run")[0].delivered > 20)
    for step in range(21, 41):
        begun = time.monotonic()
        logger.log_training_step(0.5, step=step)
        logger.log_text("line", f"number {step}", step=step)
        assert time.monotonic() - begun < 1
    until(lambda: status(tmp_path / "run")[0].health in ("unreachable", "failing"))
    with LocalServer(tmp_path / "server", port=port) as server:
        logger.finish(wait_s=60)
        task = the_task(server)
        curve = server.api("events.scalar_metrics_iter_histogram", task=task["id"])["loss"]["train"]
        lines = server.api("events.get_task_log", task=task["id"], batch_size=1000)["events"]
    assert curve["x"] == list(range(1, 41))
    numbers = [int(event["msg"].rpartition(" ")[2]) for event in lines if "number" in event["msg"]]
    assert sorted(numbers) == list(range(1, 41))
    assert task["status"] == "completed"


def test_a_killed_worker_leaves_nothing_twice(server: LocalServer, tmp_path: Path) -> None:
    logger = ExperimentLogger(
        "team", "killed", run_dir=tmp_path / "run", backends=["clearml"], capture_console=False,
        system_metrics=False,
    )  # fmt: skip
    for number in range(1, 201):
        logger.log_text("line", f"number {number}")
        if number % 40 == 0:
            time.sleep(0.7)
            for process in children(tmp_path / "run"):
                os.kill(process, signal.SIGKILL)
    logger.finish(wait_s=60)
    task = the_task(server)
    lines = server.api("events.get_task_log", task=task["id"], batch_size=1000)["events"]
    numbers = [int(event["msg"].rpartition(" ")[2]) for event in lines if "number" in event["msg"]]
    assert sorted(numbers) == list(range(1, 201))


def children(run_dir: Path) -> list[int]:
    """Return the worker processes of a run's relay."""
    import psutil

    relay = json.loads((run_dir / "relay" / "relay.json").read_text())["pid"]
    return [child.pid for child in psutil.Process(relay).children()] if psutil.pid_exists(relay) else []


def test_refused_credentials_do_not_stop_the_run(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "not the one")
    logger = log_everything(tmp_path)
    [shown] = status(logger.run_dir)
    assert shown.health == "rejected" and shown.pending > 50
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", server.environment["CLEARML_API_SECRET_KEY"])
    [delivered] = sync(logger.run_dir)
    assert (delivered.pending, the_task(server)["status"]) == (0, "completed")


def test_a_resumed_run_keeps_both_attempts(server: LocalServer, tmp_path: Path) -> None:
    for first, last, resume in ((1, 20, None), (11, 30, 10)):
        logger = ExperimentLogger(
            "team", "resumed", run_dir=tmp_path / "run", resume_step=resume, backends=["clearml"],
            capture_console=False, system_metrics=False,
        )  # fmt: skip
        for step in range(first, last + 1):
            logger.log_training_step(float(step if resume is None else -step), step=step)
        logger.finish("stopped" if resume is None else "completed", wait_s=60)
    task = the_task(server)
    curves = server.api("events.scalar_metrics_iter_histogram", task=task["id"])["loss"]
    assert curves["train"]["y"] == [*range(1, 11), *(-step for step in range(11, 31))]
    assert curves["train (attempt 1)"]["x"] == list(range(11, 21))
    assert curves["train (attempt 1)"]["y"] == list(range(11, 21))


def test_a_model_has_its_own_configuration_and_is_published(server: LocalServer, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    options = {"backends": ["clearml"], "capture_console": False, "system_metrics": False}
    with ExperimentLogger("ab", "registry", run_dir=tmp_path / "run", **options) as logger:
        given = {"config": {"d_model": 8}, "labels": {"cat": 1}, "publish": True, "tags": ["small"]}
        logger.log_model("tagger", weights, metadata={"accuracy": 0.5}, **given)
        logger.log_classification_report(["cat", "dog"], ["cat", "cat"])
    [model] = server.api("models.get_all")["models"]
    assert model["ready"] and model["labels"] == {"cat": 1} and "small" in model["tags"]
    assert json.loads(model["design"]["design"]) == {"d_model": 8}
    assert model["metadata"]["accuracy"]["value"] == "0.5" and "config" not in model["metadata"]
    plots = server.api("events.get_task_plots", task=model["id"], model_events=True)["plots"]
    assert len(plots) == 1 and "dog" in plots[0]["plot_str"]


def test_an_offline_session_can_be_imported(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    logger = log_everything(tmp_path)
    sync(logger.run_dir)
    monkeypatch.delenv("CLEARML_OFFLINE_MODE")
    session = str(logger.run_dir / "clearml-offline.zip")
    command = f"from clearml import Task; Task.import_offline_session({session!r})"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    task = the_task(server)
    curve = server.api("events.scalar_metrics_iter_histogram", task=task["id"])["loss"]["train"]
    assert curve["x"] == list(range(1, 51))
    keys = [artifact["key"] for artifact in task["execution"]["artifacts"]]
    assert keys == ["checkpoint-00000050 (best)", "data"]
    assert task["hyperparams"]["training"]["learning_rate"]["value"] == "0.001"
