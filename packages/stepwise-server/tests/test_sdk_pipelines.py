"""The unmodified SDK's pipelines, run locally: steps from functions, and decorated ones."""

import json
import sys
from pathlib import Path

import pytest
from sdk_process import run_sdk

from stepwise_server.testing import LocalServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONTROLLER = """
from clearml import PipelineController

def double(value):
    return int(value) * 2  # parameters of a pipeline are texts

def add_one(value):
    print(f"adding one to {value}", flush=True)
    return value + 1

pipe = PipelineController(name="numbers", project="pipes", version="1.0.0", add_pipeline_tags=False)
pipe.add_parameter("start", 20)
start, doubled = {"value": "${pipeline.start}"}, {"value": "${double.doubled}"}
pipe.add_function_step("double", double, function_kwargs=start, function_return=["doubled"])
pipe.add_function_step("add_one", add_one, doubled, function_return=["result"], parents=["double"])
pipe.start_locally(run_pipeline_steps_locally=True)
print("CONTROLLER", pipe.id)
"""

DECORATED = """
from clearml import PipelineDecorator, Task

@PipelineDecorator.component(return_values=["doubled"], cache=False)
def double(value):
    return value * 2

@PipelineDecorator.pipeline(name="decorated", project="pipes", version="0.1")
def numbers(start=3):
    doubled = double(start)
    print(f"the result is {doubled}", flush=True)

if __name__ == "__main__":
    PipelineDecorator.run_locally()
    numbers(start=21)
    print("DECORATED")
"""


def run(server: LocalServer, folder: Path, script: str) -> str:
    (folder / "script.py").write_text(script, encoding="utf-8")
    return run_sdk(server, folder, sys.executable, "script.py")


def test_a_controller_runs_its_functions_locally(server: LocalServer, tmp_path: Path) -> None:
    controller = run(server, tmp_path, CONTROLLER).rpartition("CONTROLLER ")[2].split()[0]
    task = server.api("tasks.get_by_id", task=controller)["task"]
    assert (task["status"], task["type"]) == ("completed", "controller")
    assert "pipeline" in task["system_tags"] and task["runtime"]["version"] == "1.0.0"
    project = server.api("projects.get_by_id", project=task["project"])["project"]
    assert project["name"] == "pipes/.pipelines/numbers" and "hidden" in project["system_tags"]
    steps = server.api("tasks.get_all", parent=[controller], search_hidden=True)["tasks"]
    assert {step["name"]: step["status"] for step in steps} == {"double": "completed", "add_one": "completed"}
    assert json.loads(task["configuration"]["Pipeline"]["value"]).keys() == {"double", "add_one"}
    [last] = [step for step in steps if step["name"] == "add_one"]
    lines = server.api("events.get_task_log", task=last["id"])["events"]
    assert any("adding one to 40" in event["msg"] for event in lines)


def test_decorated_functions_run_locally(server: LocalServer, tmp_path: Path) -> None:
    assert "the result is 42" in run(server, tmp_path, DECORATED)
    [controller] = server.api("tasks.get_all", name="^decorated", type=["controller"], search_hidden=True)[
        "tasks"
    ]
    assert controller["status"] == "completed"
    steps = server.api("tasks.get_all", parent=[controller["id"]], search_hidden=True)["tasks"]
    assert [(step["name"], step["status"]) for step in steps] == [("double", "completed")]
