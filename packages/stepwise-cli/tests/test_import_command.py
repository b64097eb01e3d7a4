"""Runs move between trackers: into a run folder with `stepwise track import`, out of it with `stepwise sync`."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stepwise_cli.main import main
from stepwise_server.testing import LocalServer
from stepwise_track import ExperimentLogger, read_run
from stepwise_track.events import Artifact, Configuration, Console, Picture, Table
from stepwise_track.files import sha256_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WITH_THE_SDK = """
import sys
from pathlib import Path
from clearml import OutputModel, Task

task = Task.init("team/others", "by the SDK", output_uri=True, auto_connect_frameworks=False,
                 auto_resource_monitoring=False, reuse_last_task_id=False)
task.add_tags(["blue"])
task.set_comment("why")
task.connect({"learning_rate": 0.1, "layers": [1, 2], "name": "x"}, name="Args")
task.connect_configuration({"a": 1}, name="config")
logger = task.get_logger()
for step in range(40):
    logger.report_scalar("loss", "train", 1 / (step + 1), step)
    logger.report_scalar("some metric", "some series", step, step)
logger.report_single_value("accuracy", 0.75)
logger.report_table("scores", "all", iteration=3, table_plot=[["name", "value"], ["bleu", 0.5]])
logger.report_text("a line of text")
Path("weights.bin").write_bytes(b"weights" * 100)
task.upload_artifact("data", "weights.bin", wait_on_upload=True)
OutputModel(task, name="the model").update_weights("weights.bin", auto_delete_file=False, async_enable=False)
task.flush(wait_for_uploads=True)
task.close()
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    for name in [name for name in os.environ if name.startswith("CLEARML_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("STEPWISE_RUNS_DIR", str(tmp_path / "runs"))
    with LocalServer(tmp_path / "server") as running:
        for name, value in running.environment.items():
            if name.startswith("CLEARML_"):
                monkeypatch.setenv(name, value)
        yield running


def test_a_clearml_task_of_the_sdk_keeps_its_values(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run([sys.executable, "-c", WITH_THE_SDK], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (task,) = server.tasks("team/others")
    assert main(["track", "import", task["id"], "--name", "theirs"]) == 0
    assert "next: stepwise runs show theirs" in capsys.readouterr().out
    journal = read_run(tmp_path / "runs" / "theirs")
    curves = {name: [point[:2] for point in points] for name, points in journal.series().items()}
    assert curves["train/loss"] == server.scalars(task)["loss"]["train"]
    assert curves["some metric/some series"] == [(step, float(step)) for step in range(40)]
    assert journal.single_values() == {"accuracy": 0.75}
    assert journal.parameters() == {"Args": {"learning_rate": 0.1, "layers": [1, 2], "name": "x"}}
    events = [record.event for record in journal.records]
    (table,) = [one for one in events if isinstance(one, Table)]
    assert (table.name, table.step, table.columns) == ("scores/all", 3, ("name", "value"))
    assert [tuple(row) for row in table.rows] == [("bleu", 0.5)]
    assert [one.name for one in events if isinstance(one, Configuration)] == ["config"]
    assert "a line of text" in "\n".join(one.text for one in events if isinstance(one, Console))
    artifacts = {one.role: one for one in events if isinstance(one, Artifact)}
    digest = hashlib.sha256(b"weights" * 100).hexdigest()
    assert {one.files[0].sha256 for one in artifacts.values()} == {digest} and len(artifacts) == 2
    for one in artifacts.values():
        assert sha256_of(tmp_path / "runs" / "theirs" / one.files[0].path) == digest
    url = f"{server.url}/projects/*/experiments/{'0' * 32}/tasks/{task['id']}/output/log"
    assert main(["track", "import", url]) == 1
    assert "is here already, as the run theirs" in capsys.readouterr().err
    assert main(["sync", "theirs", "--to", "tensorboard"]) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events_ = EventAccumulator(str(tmp_path / "runs" / "theirs" / "tensorboard"), {"scalars": 0})
    events_.Reload()
    points = [(one.step, one.value) for one in events_.Scalars("train/loss")]
    assert points == [(step, pytest.approx(1 / (step + 1))) for step in range(40)]


def test_tensorboard_files_go_to_clearml(server: LocalServer, tmp_path: Path) -> None:
    with ExperimentLogger(
        "team", "mine", runs_dir=tmp_path / "first", backends=[], system_metrics=False
    ) as logger:
        for step in range(1, 31):
            logger.log_training_step(loss=1 / step, step=step)
        logger.log_image("attention", np.zeros((8, 8, 3), dtype=np.uint8), step=30)
        logger.log_histogram("weights", [1.0, 2.0, 3.0], step=30)
    assert main(["sync", str(logger.run_dir), "--to", "tensorboard"]) == 0
    assert main(["track", "import", str(logger.run_dir / "tensorboard"), "--name", "moved"]) == 0
    assert main(["sync", "moved", "--to", "clearml"]) == 0
    (task,) = server.tasks("imported")
    assert server.scalars(task)["loss"]["train"] == [(s, pytest.approx(1 / s)) for s in range(1, 31)]
    images = server.api("events.get_task_events", task=task["id"], event_type="training_debug_image")[
        "events"
    ]
    assert [(one["metric"], one["iter"]) for one in images] == [("attention", 30)]
    assert server.file(images[0]["url"]) == next(logger.run_dir.rglob("*.png")).read_bytes()


def test_a_run_of_ours_comes_back_elsewhere_but_not_beside_itself(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExperimentLogger(
        "team", "mine", {"model": {"d_model": 64}, "seed": 3}, ["blue"], "why", runs_dir=tmp_path / "runs",
        backends=[], system_metrics=False,
    ) as logger:  # fmt: skip
        for step in range(1, 31):
            logger.log_training_step(loss=1 / step, step=step)
        logger.log_epoch(1, train_loss=0.5)
        logger.log_single_value("bleu", 0.5)
        logger.log_image("attention", np.zeros((8, 8, 3), dtype=np.uint8), step=30)
    assert main(["sync", "mine", "--to", "clearml"]) == 0
    (task,) = server.tasks("team")
    assert main(["track", "import", f"clearml:{task['id']}"]) == 1
    assert "is here already, as the run mine" in capsys.readouterr().err
    assert main(["track", "import", task["id"], "--runs-dir", str(tmp_path / "other")]) == 0
    here, there = read_run(logger.run_dir), read_run(tmp_path / "other" / "mine")
    assert {name: [p[:2] for p in points] for name, points in there.series().items()} == {
        name: [p[:2] for p in points] for name, points in here.series().items()
    }
    assert (there.parameters(), there.single_values()) == (here.parameters(), here.single_values())
    pictures = [[one.event for one in run.records if isinstance(one.event, Picture)] for run in (here, there)]
    assert [one.file.sha256 for one in pictures[0]] == [one.file.sha256 for one in pictures[1]]


def test_what_cannot_be_imported_leaves_nothing(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", "import", "0" * 32]) == 1
    assert "there is no task 0000" in capsys.readouterr().err
    assert main(["track", "import", str(tmp_path / "nothing")]) == 1
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
    assert main(["track", "import", "0" * 32]) == 5
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    assert main(["track", "import", "0" * 32]) == 4
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
