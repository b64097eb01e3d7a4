"""The unmodified SDK, in processes of its own: a training run, reading it back, its later life."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sdk_process import run_sdk

from stepwise_server.testing import LocalServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]  # the SDK waits for ten seconds and more when it closes

TRAIN = """
import sys
import numpy as np
import pandas as pd
from clearml import Logger, OutputModel, Task

task = Task.init(
    "My Proj/sub ü", "run #1", output_uri=True, tags=["blue"], reuse_last_task_id=False,
    auto_connect_frameworks=False, auto_resource_monitoring=False,
)
settings = task.connect({"lr": 0.1, "layers": 2, "a.b/c$d": "x"})
assert settings["lr"] == 0.1
task.connect_configuration({"x": 1}, name="cfg")
task.set_user_properties(version="1.0")
log = task.get_logger()
for step in range(5):
    log.report_scalar("loss", "train", iteration=step, value=1.0 / (step + 1))
log.report_single_value("best", 0.2)
log.report_histogram("weights", "layer 1", iteration=1, values=np.arange(10))
log.report_table("words", "counts", iteration=1, table_plot=pd.DataFrame({"word": ["a"], "count": [1]}))
log.report_scatter2d("points", "all", iteration=1, scatter=np.array([[0, 1], [1, 2]]))
log.report_image("pictures", "noise", iteration=1, image=np.zeros((8, 8, 3), dtype=np.uint8))
log.report_text("a line of text ü")
print("printed", flush=True)
task.upload_artifact("data #1", {"answer": 42}, wait_on_upload=True)
open("weights.bin", "wb").write(b"0123456789")
model = OutputModel(task=task, name="the weights", framework="PyTorch", label_enumeration={"cat": 1})
model.update_weights("weights.bin", iteration=4, auto_delete_file=False)
model.set_metadata("accuracy", "0.9", "float")
model.report_scalar("validation", "accuracy", 0.9, 4)
task.flush(wait_for_uploads=True)
task.close()
print("TASK", task.id)
"""

READ = """
import json
import sys
from clearml import Model, Task

task = Task.get_task(task_id=sys.argv[1])
assert Task.get_tasks(project_name="My Proj/sub ü", task_name="run #1")[0].id == task.id
model = task.models["output"][0]
print("READ", json.dumps({
    "status": task.status,
    "parameters": task.get_parameters(),
    "configuration": task.get_configuration_object("cfg"),
    "properties": {k: v["value"] for k, v in task.get_user_properties().items()},
    "scalars": task.get_reported_scalars(),
    "last": task.get_last_scalar_metrics(),
    "single": task.get_reported_single_values(),
    "plots": sorted({each["metric"] for each in task.get_reported_plots()}),
    "images": [each["url"] for each in task.get_debug_samples("pictures", "noise")],
    "console": "".join(task.get_reported_console_output(100)),
    "iteration": task.get_last_iteration(),
    "artifact": task.artifacts["data #1"].get(),
    "tags": task.get_tags(),
    "model": {
        "name": model.name, "labels": model.labels, "framework": model.framework,
        "metadata": model.get_metadata("accuracy"), "published": model.published,
        "content": open(model.get_local_copy(), "rb").read().decode(),
    },
    "models": [each.id == model.id for each in Model.query_models(model_name="the weights")],
}))
"""

LIFE = """
import sys
from clearml import Task

source = Task.get_task(task_id=sys.argv[1])
copy = Task.clone(source, name="a copy")
copy.set_parameters({"General/lr": 0.5, "Args/new": "1"})
assert copy.get_parameters()["General/lr"] == "0.5"
Task.enqueue(copy, queue_name="default")
copy.reload()
assert copy.status == "queued"
Task.dequeue(copy)
copy.reload()
assert copy.status == "created", copy.status
copy.mark_started(force=True)
copy.mark_completed()
copy.publish()
assert copy.get_status() == "published"
copy.reset(force=True)
copy.reload()
assert copy.status == "created"
copy.set_archived(True)
assert "archived" in Task.get_task(copy.id).get_system_tags()
assert copy.delete()
assert copy.id not in Task.query_tasks(task_name="a copy")
assert source.delete(raise_on_error=True)
print("LIVED")
"""


AGAIN = """
from clearml import InputModel, Model, OutputModel, Task

def init(name="again", **given):
    return Task.init("Again", name, auto_connect_frameworks=False, auto_resource_monitoring=False, **given)

first = init()
first.get_logger().report_scalar("loss", "train", 1.0, 5)
first.close()
second = init()  # within the time in which the SDK takes its last task again: it is reset
assert second.id == first.id
assert Task.get_task(first.id).get_reported_scalars() == {}
second.get_logger().report_scalar("loss", "train", 1.0, 5)
second.close()
third = init(continue_last_task=True)
assert (third.id, third.get_initial_iteration()) == (first.id, 6)
third.get_logger().report_scalar("loss", "train", 2.0, 1)
made = OutputModel(task=third, name="weights")
open("w.bin", "wb").write(b"123")
made.update_weights("w.bin", auto_delete_file=False)
third.close()
assert Task.get_task(first.id).get_reported_scalars()["loss"]["train"]["x"] == [5, 7]
made.publish()
assert Model(made.id).published and Task.get_task(first.id).get_status() == "completed"

user = init("a user", reuse_last_task_id=False)
user.connect(InputModel(made.id))
user.reload()
assert [each.id for each in user.models["input"]] == [made.id]
user.move_to_project(new_project_name="Elsewhere/below")
user.set_name("renamed")
user.set_comment("a comment")
user.reload()
assert user.name == "renamed"
assert (user.get_project_name(), user.comment) == ("Elsewhere/below", "a comment")
user.close()
broken = Task.create("Again", "broken")
broken.mark_failed(status_message="it broke", force=True)
broken.reload()
assert (broken.get_status(), broken.data.status_message) == ("failed", "it broke")
assert Model.remove(made.id, force=True, raise_on_errors=True)
print("AGAIN")
"""


def run(server: LocalServer, folder: Path, script: str, *arguments: str) -> str:
    """Run a script with the SDK against the server, and return what it printed."""
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(script, encoding="utf-8")
    output = run_sdk(server, folder, sys.executable, "script.py", *arguments)
    # The SDK tries to delete the models that went with their task; it knows that this answer means "gone already".
    output = "\n".join(line for line in output.splitlines() if "400/201: models.delete" not in line)
    for trouble in ("Action failed", "Failed parsing", "Traceback", "Retrying", "Failed deleting"):
        assert trouble not in output, output
    return output


@pytest.fixture(scope="module")
def task(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Train once, and return the task's id."""
    output = run(server, tmp_path_factory.mktemp("training"), TRAIN)
    return output.rpartition("TASK ")[2].split()[0]


def test_what_was_reported_is_read_back(server: LocalServer, task: str, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(run(server, tmp_path, READ, task).rpartition("READ ")[2])
    assert (found["status"], found["iteration"], found["tags"]) == ("completed", 4, ["blue"])
    assert found["parameters"]["General/a.b/c$d"] == "x" and found["parameters"]["General/lr"] == "0.1"
    assert json.loads(found["configuration"].replace("x = 1", '{"x": 1}')) == {"x": 1}
    assert found["properties"] == {"version": "1.0"}
    curve = found["scalars"]["loss"]["train"]
    assert curve["x"] == [0, 1, 2, 3, 4] and curve["y"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert found["last"]["loss"]["train"] == {"last": 0.2, "min": 0.2, "max": 1.0}
    assert found["single"] == {"best": 0.2}
    assert found["plots"] == ["points", "weights", "words"]
    assert len(found["images"]) == 1 and found["images"][0].startswith(f"{server.url}/files/")
    assert "a line of text ü" in found["console"] and "printed" in found["console"]
    assert found["artifact"] == {"answer": 42}
    assert found["model"] == {
        "name": "the weights",
        "labels": {"cat": 1},
        "framework": "PyTorch",
        "metadata": "0.9",
        "published": False,
        "content": "0123456789",
    }
    assert found["models"] == [True]


def test_the_life_of_a_task_after_its_run(server: LocalServer, task: str, tmp_path: Path) -> None:
    """Runs last: it deletes the task."""
    assert "LIVED" in run(server, tmp_path, LIFE, task)
    assert server.api("tasks.get_all", id=[task])["tasks"] == []
    left = server.services.database.read(lambda tx: tx.column("SELECT path FROM files"))
    assert [path for path in left if task in path] == []


def test_a_task_is_taken_again_continued_and_its_model_used(server: LocalServer, tmp_path: Path) -> None:
    assert "AGAIN" in run(server, tmp_path, AGAIN)
