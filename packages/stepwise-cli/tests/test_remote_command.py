"""Runs that are trained again elsewhere: the real clearml-agent takes them from the queue of a real server."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import Agent, find_agent
from small_corpus import parallel
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.training.checkpoints import read_checkpoint
from stepwise_server.testing import LocalServer
from stepwise_track import summarize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def here(server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the command, and what it starts, to the server; let it know no data."""
    for name, value in server.environment.items():
        if name.startswith("CLEARML_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("STEPWISE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    if find_agent() is None:
        pytest.skip("clearml-agent is not installed (make venv installs it in .venv/agent)")
    running = Agent(server, tmp_path_factory.mktemp("agent"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def base(server: LocalServer, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained here and sent to the server."""
    runs_dir = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        command = [
            "train",
            str(tiny_config),
            "--runs-dir",
            str(runs_dir),
            "--run-name",
            "base",
            "--track",
            "clearml",
        ]
        assert main([*command, "--set", "training.learning_rate=0.01", "--no-evaluate"]) == 0
    return runs_dir / "base"


def remote(*arguments: object) -> int:
    return main(["remote", *map(str, arguments)])


def task_of(server: LocalServer, task_id: str) -> dict[str, Any]:
    return dict(server.api("tasks.get_by_id", task=task_id)["task"])


def id_of(run: Path) -> str:
    return str(json.loads((run / "relay" / "clearml.json").read_text())["state"]["task"])


def setting(task: dict[str, Any], name: str) -> str:
    section, key = name.split(".", 1)
    return str(task["hyperparams"][section][key.replace(".", "/")]["value"])


def cloned(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Clone a task, and return the id that the command printed."""
    capsys.readouterr()
    assert remote("clone", *arguments) == 0
    return capsys.readouterr().out.strip()


def console(server: LocalServer, agent: Agent, task: str) -> str:
    return server.console(task) + "\n" + (agent.folder / "agent.log").read_text()[-4000:]


def test_a_task_tells_how_to_run_it_again(server: LocalServer, base: Path) -> None:
    task = task_of(server, id_of(base))
    script = task["script"]
    assert (script["entry_point"], script["working_dir"]) == ("-m stepwise_cli train", ".")
    assert script["repository"] == "" and script["binary"].startswith("python3")
    assert setting(task, "training.learning_rate") == "0.01"
    assert setting(task, "data.toy.max_length") == "8"
    version = setting(task, "dataset.version")
    assert version == setting(task, "Datasets.copy")
    assert len(version) == 16


def test_a_clone_trains_with_its_own_settings_on_the_same_data(
    server: LocalServer, agent: Agent, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [
        "--set",
        "training.learning_rate=0.125",
        "--set",
        "logging.notes=007",
        "--set",
        "logging.experiment_name=b",
    ]
    task_id = cloned(capsys, base, *sets, "--name", "another", "--queue", "default")
    assert remote("wait", task_id, "--timeout", 200) == 0, console(server, agent, task_id)
    task, original = task_of(server, task_id), task_of(server, id_of(base))
    assert (task["status"], task["name"], task["parent"]) == ("completed", "another", original["id"])
    assert setting(task, "training.learning_rate") == "0.125"
    assert (
        setting(task, "dataset.version")
        == setting(original, "dataset.version")
        == setting(task, "data.version")
    )
    assert task["script"]["entry_point"] == "-m stepwise_cli train"
    rates = [value for _, value in server.scalars(task_id)["learning_rate"]["train"]]
    assert max(rates) == pytest.approx(0.125)
    assert task["last_iteration"] == original["last_iteration"] == 16
    [run] = (agent.folder / "runs").glob(f"b-{task_id[:8]}-*")
    stored = json.loads((run / "config.json").read_text())
    assert stored["_origin"]["training.learning_rate"] == "clearml task"
    assert (stored["training"]["learning_rate"], stored["logging"]["notes"]) == (0.125, "007")
    assert stored["training"]["betas"] == json.loads((base / "config.json").read_text())["training"]["betas"]
    lines = server.console(task_id).splitlines()
    assert len([line for line in lines if "steps from the start" in line]) == 1, "reported twice"


@pytest.mark.parametrize(
    ("section", "name", "value", "complaint"),
    [
        ("training", "epochs", "many", "training.epochs = 'many' (clearml task)"),
        ("training", "learning_rat", "0.5", "unknown key `training.learning_rat` (clearml task)"),
        ("General", "learning_rate", "0.5", "did you mean `training.learning_rate`?"),
    ],
)
def test_a_bad_value_on_the_server_fails_with_one_clear_line(
    server: LocalServer, agent: Agent, base: Path, capsys: pytest.CaptureFixture[str],
    section: str, name: str, value: str, complaint: str,
) -> None:  # fmt: skip
    task_id = cloned(capsys, id_of(base))
    edited = [{"section": section, "name": name, "value": value}]
    server.api("tasks.edit_hyper_params", task=task_id, hyperparams=edited)
    assert remote("enqueue", task_id) == 0
    capsys.readouterr()
    assert remote("wait", task_id, "--timeout", 100) == 1
    assert complaint in capsys.readouterr().err
    assert task_of(server, task_id)["status"] == "failed"
    said = console(server, agent, task_id)
    assert "error: 1 mistake in the configuration" in said and complaint in said
    assert "Traceback" not in server.console(task_id)


def test_stopping_leaves_a_checkpoint(
    server: LocalServer, agent: Agent, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task_id = cloned(capsys, base, "--set", "training.epochs=100000", "--queue", "default")
    give_up = time.monotonic() + 100
    while not server.scalars(task_id):
        assert time.monotonic() < give_up, console(server, agent, task_id)
        time.sleep(0.5)
    assert remote("stop", task_id) == 0
    assert remote("wait", task_id, "--timeout", 100) == 130, console(server, agent, task_id)
    [run] = [path for path in (agent.folder / "runs").iterdir() if id_of(path) == task_id]
    step = read_checkpoint(run / "checkpoints" / "latest").state.step
    assert step > 0 and summarize(run).status == "stopped"
    assert f"checkpoint-{step:08}" in [each["name"] for each in task_of(server, task_id)["models"]["output"]]
    assert "stopping: saving a checkpoint" in server.console(task_id)


def test_the_agent_fetches_the_data_that_it_does_not_have(
    server: LocalServer, agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parallel(tmp_path)
    command = [sys.executable, "-m", "stepwise_cli", "data", "push", str(config)]
    subprocess.run(command, check=True, timeout=100)  # elsewhere: the SDK has one server per process
    assert main(["train", str(config), "--track", "clearml", "--run-name", "corpus", "--no-evaluate"]) == 0
    original = task_of(server, id_of(tmp_path / "runs" / "corpus"))
    task_id = cloned(capsys, "corpus", "--set", "training.max_steps=3", "--queue", "default")
    assert remote("wait", task_id, "--timeout", 200) == 0, console(server, agent, task_id)
    task = task_of(server, task_id)
    assert task["last_iteration"] == 3
    assert (
        setting(task, "dataset.version")
        == setting(original, "dataset.version")
        == setting(task, "data.version")
    )
    assert setting(task, "dataset.name") == "corpus-en-de"


def test_nothing_is_sent_that_is_wrong(server: LocalServer, base: Path, fails: Fails) -> None:
    before = len(server.tasks())
    message = fails(3, "remote", "clone", base, "--set", "training.epochs=many")
    assert "training.epochs = 'many' (flag)" in message
    assert "unknown key `training.epoch`" in fails(3, "remote", "clone", base, "--set", "training.epoch=3")
    assert "expected key=value" in fails(3, "remote", "clone", base, "--set", "training.epochs")
    assert "preset" in fails(3, "remote", "clone", base, "--set", "preset=paper")
    assert "there is no task" in fails(1, "remote", "clone", "0" * 32)
    assert len(server.tasks()) == before
    assert "there is no queue 'nowhere'" in fails(1, "remote", "enqueue", base, "--queue", "nowhere")


def test_a_clone_on_other_data_asks_for_no_version(
    server: LocalServer, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, other = cloned(capsys, base), cloned(capsys, base, "--set", "data.seed=5")
    assert setting(task_of(server, same), "data.version") == setting(task_of(server, same), "dataset.version")
    assert setting(task_of(server, other), "data.version") == ""
    assert setting(task_of(server, other), "data.seed") == "5"


def test_waiting_says_when_it_is_in_vain(
    server: LocalServer, base: Path, fails: Fails, tmp_path: Path
) -> None:
    task = server.api("tasks.clone", task=id_of(base), new_task_name="waits")["id"]
    assert "is not queued" in fails(1, "remote", "wait", task)
    queue = server.api("queues.create", name="nobody's")["id"]
    assert remote("enqueue", task, "--queue", "nobody's") == 0
    assert server.api("queues.get_num_entries", queue=queue)["num"] == 1
    assert "is not over after 0.2 seconds: queued" in fails(1, "remote", "wait", task, "--timeout", 0.2)
    assert remote("stop", task) == 0
    assert task_of(server, task)["status"] == "created"
    assert remote("wait", base, "--timeout", 1) == 0


def test_nobody_hears_a_stop_without_an_agent(server: LocalServer, base: Path, fails: Fails) -> None:
    task = server.api("tasks.clone", task=id_of(base), new_task_name="by hand")["id"]
    server.api("tasks.started", task=task)
    assert "is not run by an agent" in fails(1, "remote", "stop", task)
    assert task_of(server, task)["status"] == "in_progress"


def test_the_list_has_our_tasks_alone(
    server: LocalServer, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = server.api("tasks.create", name="foreign", type="training", script={"entry_point": "x.py"})[
        "id"
    ]
    capsys.readouterr()
    assert remote("list", "--json") == 0
    found = {each["id"]: each["status"] for each in json.loads(capsys.readouterr().out)}
    assert found[id_of(base)] == "completed" and foreign not in found
    assert remote("list") == 0
    assert id_of(base) in capsys.readouterr().out


def test_no_server_and_refused_credentials(
    base: Path, trained: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "is not on a ClearML server" in fails(1, "remote", "clone", trained)
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "not the one")
    assert "refuses" in fails(5, "remote", "list")
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    assert "does not answer" in fails(4, "remote", "clone", base)
    for name in ("CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEPWISE_SERVER_DIR", str(tmp_path / "no server"))
    assert "no ClearML server runs on this machine" in fails(4, "remote", "list")
