"""The real clearml-agent takes tasks from a queue, runs them with changed hyperparameters, and stops them when told.

It runs with the interpreter of the tests and installs nothing. Where it is not installed the tests are skipped:
`STEPWISE_AGENT` names its executable, or it lies on the PATH, or in an `agent` environment beside this one.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwise_server.testing import LocalServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TRAINING = """
import time
from clearml import Task

task = Task.init("agents", "training", auto_connect_frameworks=False, auto_resource_monitoring=False)
config = task.connect({"rate": 0.5, "steps": 3, "pause": 0.0})
for step in range(int(config["steps"])):
    task.get_logger().report_scalar("rate", "used", config["rate"], step)
    print(f"step {step} with rate {config['rate']}", flush=True)
    time.sleep(config["pause"])
"""

OPTIMIZER = """
import sys
from clearml import Task
from clearml.automation import DiscreteParameterRange, GridSearch, HyperParameterOptimizer

task = Task.init("agents", "optimizer", task_type="optimizer", auto_resource_monitoring=False)
optimizer = HyperParameterOptimizer(
    base_task_id=sys.argv[1],
    hyper_parameters=[DiscreteParameterRange("General/rate", [0.25, 0.75])],
    objective_metric_title="rate",
    objective_metric_series="used",
    objective_metric_sign="max",
    optimizer_class=GridSearch,
    execution_queue="default",
    max_number_of_concurrent_tasks=2,
    total_max_jobs=2,
    pool_period_min=0.02,
)
optimizer.set_report_period(0.05)
optimizer.start()
optimizer.wait(timeout=2)
print("best", *[each.id for each in optimizer.get_top_experiments(top_k=2)])
optimizer.stop()
"""
PIPELINE = """
import sys
from clearml import PipelineController

pipeline = PipelineController("two steps", "agents", "1.0.0", pool_frequency=0.02)
pipeline.set_default_execution_queue("default")
for name, parents in (("first", []), ("second", ["first"])):
    pipeline.add_step(
        name, base_task_id=sys.argv[1], parents=parents, parameter_override={"General/rate": "0.375"}
    )
pipeline.start_locally()
"""


def find_agent() -> str | None:
    """Return the path of the agent's executable, or None."""
    beside = Path(sys.executable).parent.parent / "agent" / "bin" / "clearml-agent"
    in_prefix = Path(sys.prefix) / "agent" / "bin" / "clearml-agent"
    for path in (os.environ.get("STEPWISE_AGENT"), shutil.which("clearml-agent"), beside, in_prefix):
        if path and Path(path).is_file():
            return str(path)
    return None


def wait_for(what: str, happened: Callable[[], Any], log: Path, seconds: float = 90) -> Any:
    """Wait until something is true, and return it."""
    give_up = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < give_up, (
            f"{what} did not happen; the agent said:\n{log.read_text()[-6000:]}"
        )
        time.sleep(0.3)
    return result


class Agent:
    """A daemon that serves the default queue; its output is in `log`."""

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self.server, self.folder, self.log = server, folder, folder / "agent.log"
        self.environment = {
            **{
                key: value for key, value in server.environment.items() if not key.startswith("CLEARML_AGENT")
            },
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "CLEARML_CONFIG_FILE": str(folder / "clearml.conf"),
            "CLEARML_WORKER_ID": "tests:agent",
            "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": sys.executable,
            "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
            "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": "0.5",
            "CLEARML_AGENT_STATUS_REPORT_FREQ_SEC": "1",
        }
        (folder / "clearml.conf").write_text("agent { package_manager { type: pip } }\n")

    def start(self) -> None:
        executable = find_agent()
        assert executable
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [executable, "daemon", "--foreground", "--queue", "default", "--cpu-only"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def status(self, task: str) -> str:
        found: str = self.server.api("tasks.get_by_id", task=task)["task"]["status"]
        return found

    def wait_until(self, task: str, *statuses: str) -> str:
        found: str = wait_for(
            f"{statuses} of the task", lambda: (now := self.status(task)) in statuses and now, self.log
        )
        return found

    def console(self, task: str) -> str:
        events = self.server.api("events.get_task_log", task=task, batch_size=500, navigate_earlier=False)
        return "\n".join(event["msg"] for event in events["events"])


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    if find_agent() is None:
        pytest.skip("clearml-agent is not installed (make venv installs it in .venv/agent)")
    running = Agent(server, tmp_path_factory.mktemp("agent"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def trained(server: LocalServer, agent: Agent) -> str:
    """Id of a task that the SDK made by running the script here."""
    script = agent.folder / "training.py"
    script.write_text(TRAINING)
    subprocess.run(
        [sys.executable, str(script)], env=server.environment, cwd=agent.folder, check=True, timeout=120
    )
    (task,) = server.api("tasks.get_all", name="^training$", only_fields=["id", "status"])["tasks"]
    assert task["status"] == "completed"
    made: str = task["id"]
    return made


def scalar(server: LocalServer, task: str) -> dict[str, Any]:
    found: dict[str, Any] = server.api("events.scalar_metrics_iter_histogram", task=task)["rate"]["used"]
    return found


def enqueued(server: LocalServer, template: str, name: str, **values: str) -> str:
    """Clone a task, change its hyperparameters, and queue it."""
    task: str = server.api("tasks.clone", task=template, new_task_name=name)["id"]
    changed = [{"section": "General", "name": key, "value": value} for key, value in values.items()]
    server.api("tasks.edit_hyper_params", task=task, hyperparams=changed)
    queue = server.api("queues.get_default")["id"]
    assert server.api("tasks.enqueue", task=task, queue=queue)["queued"] == 1
    return task


def test_a_clone_runs_with_its_own_hyperparameters(server: LocalServer, agent: Agent, trained: str) -> None:
    assert scalar(server, trained)["y"] == [0.5, 0.5, 0.5]
    task = enqueued(server, trained, "a clone", rate="0.125", steps="2")
    assert agent.wait_until(task, "completed", "failed", "stopped") == "completed"
    assert scalar(server, task)["y"] == [0.125, 0.125]
    console = agent.console(task)
    assert "by worker tests:agent" in console
    assert "step 1 with rate 0.125" in console
    stored = server.api("tasks.get_by_id", task=task)["task"]
    assert stored["last_worker"].startswith("tests:agent")
    assert stored["last_iteration"] == 1
    assert "queue" not in stored["execution"]
    assert "development" not in stored["system_tags"]
    assert scalar(server, trained)["y"] == [0.5, 0.5, 0.5]


def test_stopping_it_ends_the_process(server: LocalServer, agent: Agent, trained: str) -> None:
    task = enqueued(server, trained, "a long one", steps="1000", pause="0.5")
    agent.wait_until(task, "in_progress")
    wait_for("a scalar", lambda: server.api("events.scalar_metrics_iter_histogram", task=task), agent.log)

    def worker() -> dict[str, Any] | None:
        found = server.api("workers.get_all")["workers"]
        return next((each for each in found if each.get("task", {}).get("id") == task), None)

    assert wait_for("a report", worker, agent.log)["queues"][0]["name"] == "default"
    (state,) = server.api("stepwise.run_states", tasks=[task])["states"]
    assert state["state"] == "live"
    answer = server.api("tasks.stop", task=task)
    assert answer["fields"] | {"status": "in_progress", "status_message": "stopping"} == answer["fields"]
    assert agent.wait_until(task, "stopped", "failed", "completed") == "stopped"
    length = len(scalar(server, task)["y"])
    time.sleep(2)
    assert len(scalar(server, task)["y"]) == length
    assert "stopping task" in agent.console(task)
    wait_for("the worker's rest", lambda: worker() is None, agent.log)


def test_a_module_without_a_repository(server: LocalServer, agent: Agent) -> None:
    script = {
        "binary": "python",
        "entry_point": "-m untitled",
        "working_dir": ".",
        "diff": "print('from a module')\n",
    }
    task = server.api("tasks.create", name="a module", type="training", script=script)["id"]
    server.api("tasks.enqueue", task=task)
    assert agent.wait_until(task, "completed", "failed", "stopped") == "completed"
    assert "from a module" in agent.console(task)


def test_a_script_that_fails(server: LocalServer, agent: Agent) -> None:
    script = {"binary": "python", "entry_point": "fails.py", "diff": "raise SystemExit('out of patience')\n"}
    task = server.api("tasks.create", name="one that fails", type="training", script=script)["id"]
    server.api("tasks.enqueue", task=task)
    assert agent.wait_until(task, "completed", "failed", "stopped") == "failed"
    assert "out of patience" in agent.console(task)


def run_here(agent: Agent, source: str, template: str) -> str:
    """Run a script in this environment, and return what it printed."""
    script = agent.folder / "script.py"
    script.write_text(source)
    command = [sys.executable, str(script), template]
    done = subprocess.run(
        command, env=agent.server.environment, cwd=agent.folder, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-4000:] + agent.log.read_text()[-4000:]
    return done.stdout


def test_an_optimizer_finds_the_best(server: LocalServer, agent: Agent, trained: str) -> None:
    printed = run_here(agent, OPTIMIZER, trained)
    best = next(line.split()[1:] for line in printed.splitlines() if line.startswith("best "))
    assert [scalar(server, task)["y"][-1] for task in best] == [0.75, 0.25]
    assert [agent.status(task) for task in best] == ["completed", "completed"]


def test_a_pipeline_runs_its_steps_on_the_agent(server: LocalServer, agent: Agent, trained: str) -> None:
    run_here(agent, PIPELINE, trained)
    (controller,) = server.api("tasks.get_all", name="^two steps", search_hidden=True)["tasks"]
    assert controller["status"] == "completed"
    steps = server.api("tasks.get_all", parent=[controller["id"]], order_by=["created"])["tasks"]
    assert [(step["name"], step["status"]) for step in steps] == [
        ("first", "completed"),
        ("second", "completed"),
    ]
    assert [scalar(server, step["id"])["y"] for step in steps] == [[0.375] * 3] * 2


def test_the_agent_says_good_bye(server: LocalServer, tmp_path: Path, agent: Agent) -> None:
    [before] = wait_for("its registration", lambda: server.api("workers.get_all")["workers"], agent.log)
    agent.stop()
    # Its last report may come after its farewell, and then registers the worker anew.
    after = server.api("workers.get_all")["workers"]
    assert all(each["register_time"] > before["register_time"] for each in after)
