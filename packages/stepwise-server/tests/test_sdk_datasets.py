"""The unmodified SDK's datasets, offline sessions and commands, in processes of their own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sdk_process import run_sdk

from stepwise_server.testing import LocalServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DATASETS = """
import json
from pathlib import Path
from clearml import Dataset, Task

Path("files").mkdir(exist_ok=True)
Path("files/a.txt").write_text("first")
Path("files/b.txt").write_text("second")
parent = Dataset.create(dataset_name="dsA", dataset_project="P1", dataset_tags=["raw"], description="two files")
parent.add_files("files")
parent.upload()
parent.finalize()
parent.publish()

Path("files/c.txt").write_text("third")
child = Dataset.create(dataset_name="dsA", dataset_project="P1", parent_datasets=[parent.id])
child.add_files("files/c.txt")
child.remove_files("a.txt")
child.upload()
child.finalize()

found = Dataset.get(dataset_project="P1", dataset_name="dsA")
first = Dataset.get(dataset_project="P1", dataset_name="dsA", dataset_version="1.0.0")
copy = Path(found.get_local_copy())
print("RESULT", json.dumps({
    "found": found.id == child.id,
    "first": first.id == parent.id,
    "version": [first.version, found.version],
    "files": sorted(path.name for path in copy.rglob("*.txt")),
    "c": (copy / "c.txt").read_text(),
    "listed": sorted((each["name"], each["version"]) for each in Dataset.list_datasets(dataset_project="P1")),
    "parents": found.get_dependency_graph()[found.id],
}))
task = Task.create(project_name="P1", task_name="a bystander")
assert [each.id for each in Task.get_tasks(project_name="P1")] == [task.id]
Dataset.delete(dataset_id=child.id, force=True)
assert [each["version"] for each in Dataset.list_datasets(dataset_project="P1")] == ["1.0.0"]
"""

OFFLINE = """
from pathlib import Path
from clearml import OutputModel, Task

Task.set_offline(True)
task = Task.init("offline", "session", auto_connect_frameworks=False, auto_resource_monitoring=False)
task.connect({"rate": 0.5})
for step in range(20):
    task.get_logger().report_scalar("loss", "train", 1.0 / (step + 1), step)
task.get_logger().report_single_value("best", 0.05)
print("a line of the offline run", flush=True)
task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
folder = task.get_offline_mode_folder()
task.close()
print("RESULT", f'"{folder}.zip"')
"""

IMPORT = """
import sys
from clearml import Task

print("RESULT", f'"{Task.import_offline_session(sys.argv[1])}"')
"""


def run(server: LocalServer, folder: Path, script: str, *arguments: str) -> Any:
    """Run a script with the SDK and return what it printed as its result."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    output = shell(server, folder, sys.executable, "script.py", *arguments)
    return json.loads(next(line for line in output.splitlines() if line.startswith("RESULT "))[7:])


def shell(server: LocalServer, folder: Path, *command: str) -> str:
    """Run a command that talks to the server, and return its output."""
    output = run_sdk(server, folder, *command)
    assert "Failed parsing" not in output
    return output


def tool(name: str) -> str:
    """Return the SDK's command that lies next to the interpreter."""
    return str(Path(sys.executable).with_name(name))


def test_datasets_have_versions_parents_and_files(server: LocalServer, tmp_path: Path) -> None:
    result = run(server, tmp_path, DATASETS)
    assert result["found"] and result["first"]
    assert result["version"] == ["1.0.0", "1.0.1"]
    assert result["files"] == ["b.txt", "c.txt"] and result["c"] == "third"
    assert result["listed"] == [["dsA", "1.0.0"], ["dsA", "1.0.1"]]
    assert len(result["parents"]) == 1
    hidden = server.api("projects.get_all", name="^P1/")["projects"]
    assert hidden == []


def test_an_offline_session_is_imported(server: LocalServer, tmp_path: Path) -> None:
    session = run(server, tmp_path, OFFLINE)
    task = run(server, tmp_path, IMPORT, session)
    stored = server.api("tasks.get_by_id", task=task)["task"]
    assert stored["status"] == "completed"
    assert stored["hyperparams"]["General"]["rate"]["value"] == "0.5"
    curve = server.api("events.scalar_metrics_iter_histogram", task=task)["loss"]["train"]
    assert curve["x"] == list(range(20)) and curve["y"][1] == 0.5
    [artifact] = stored["execution"]["artifacts"]
    assert artifact["key"] == "numbers" and artifact["uri"].startswith(server.url)
    lines = server.api("events.get_task_log", task=task)["events"]
    assert any("a line of the offline run" in event["msg"] for event in lines)


def test_the_command_clearml_data(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("a,b\n1,2\n")
    data = tool("clearml-data")
    created = shell(server, tmp_path, data, "create", "--project", "shell", "--name", "table")
    dataset = next(word for line in created.splitlines() for word in line.split("id=")[1:])
    shell(server, tmp_path, data, "add", "--files", "data")
    shell(server, tmp_path, data, "close")
    assert "x.csv" in shell(server, tmp_path, data, "list", "--id", dataset.strip())
    shell(server, tmp_path, data, "get", "--id", dataset.strip(), "--copy", "out")
    assert (tmp_path / "out" / "x.csv").read_text() == "a,b\n1,2\n"


def test_the_command_clearml_task(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hello')\n")
    command = [tool("clearml-task"), "--project", "shell", "--name", "from the shell", "--script", "hello.py"]
    (tmp_path / "requirements.txt").write_text("clearml\n")
    command += ["--requirements", "requirements.txt"]
    shell(server, tmp_path, *command, "--args", "rate=0.1", "--queue", "default", "--skip-task-init")
    [task] = server.api("tasks.get_all", name="^from the shell$")["tasks"]
    assert task["status"] == "queued"
    assert task["script"]["entry_point"] == "hello.py"
    assert task["hyperparams"]["Args"]["rate"]["value"] == "0.1"
    assert server.api("queues.get_num_entries", queue=task["execution"]["queue"])["num"] >= 1
