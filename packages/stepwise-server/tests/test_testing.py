"""The fixture for outsiders: two tests in one process, each with a server of its own, and what the SDK reports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepwise_server.errors import ServerError
from stepwise_server.testing import ApiFailure, LocalServer

REPORTING = """
from clearml import OutputModel, Task
off = dict(auto_connect_frameworks=False, auto_resource_monitoring=False)
task = Task.init("My project/sub", "a run", output_uri=True, **off)
print("hello from the run")
for step in range(3):
    task.get_logger().report_scalar("loss", "train", 1.0 / (step + 1), step)
task.get_logger().report_single_value("score", 0.5)
task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
open("weights.bin", "wb").write(b"weights")
OutputModel(task, name="weights").update_weights("weights.bin", auto_delete_file=False, async_enable=False)
task.close()
"""


def test_what_a_script_reported_can_be_asserted(clearml_server: LocalServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORTING], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (task,) = clearml_server.tasks(project="My project/sub")
    assert task["status"] == "completed" and clearml_server.tasks(project="My project") == []
    assert clearml_server.scalars(task) == {
        "loss": {"train": [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]}
    }
    assert clearml_server.single_values(task) == {"score": 0.5}
    assert "hello from the run" in clearml_server.console(task)
    artifact = clearml_server.artifacts(task)["numbers"]
    assert b'"a": 1' in clearml_server.file(artifact["uri"])
    (model,) = clearml_server.models(task["id"])
    assert clearml_server.file(model["uri"]) == b"weights"
    with pytest.raises(ApiFailure):
        clearml_server.file(model["uri"] + "x")


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_a_server_of_its_own_in_one_process(clearml_server: LocalServer, number: int) -> None:
    from clearml import Task

    task = Task.init(
        "p q",
        f"run {number}",
        auto_connect_frameworks=False,
        auto_resource_monitoring=False,
        output_uri=False,
    )
    task.get_logger().report_scalar("loss", "train", float(number), 0)
    task.close()
    assert [each["name"] for each in clearml_server.tasks(project="p q")] == [f"run {number}"]
    assert clearml_server.scalars(task) == {"loss": {"train": [(0, float(number))]}}
    assert os.environ["CLEARML_API_HOST"] == f"{clearml_server.url}/api"


def test_the_environment_is_as_before() -> None:
    assert not any("127.0.0.1" in value for name, value in os.environ.items() if name.startswith("CLEARML"))


def test_a_server_that_cannot_start_says_so_at_once(tmp_path: Path) -> None:
    with LocalServer(tmp_path), pytest.raises(ServerError, match="in use"), LocalServer(tmp_path):
        pass
