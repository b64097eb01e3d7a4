"""`stepwise runs` says the same of tasks on a ClearML server as of the run folders that they came from."""

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwise_cli.main import main
from stepwise_server.testing import LocalServer
from stepwise_track import ExperimentLogger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EVIL = "=1+1<b>"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, LocalServer]]:
    """Three runs in a folder, and the same as tasks on a server."""
    folder = tmp_path_factory.mktemp("sent")
    for number, name in enumerate(["first", "second", "third"]):
        config = {"model": {"d_model": 64 * 2**number, "n_heads": 4, "dropout": 0.1}, "note": EVIL * number}
        with ExperimentLogger(
            "team/dates", name, config, [name], "why", runs_dir=folder / "runs", backends=[],
            capture_console=False, system_metrics=False, log_code=False,
        ) as logger:  # fmt: skip
            for step in range(1, 21):
                logger.log_training_step(loss=(number + 1) / step, step=step)
            for step in (10, 20):
                logger.log_validation_step(
                    loss=number + 10 / step, step=step, exact_match=step / 100 + number
                )
            logger.log_single_value("bleu", 0.5 + number)
            logger.log_artifact("notes", _file(logger.run_dir / "notes.txt"))
    with pytest.MonkeyPatch.context() as patch, LocalServer(folder / "server") as server:
        for name in [name for name in os.environ if name.startswith("CLEARML_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("STEPWISE_RUNS_DIR", str(folder / "runs"))
        for name, value in server.environment.items():
            if name.startswith("CLEARML_"):
                patch.setenv(name, value)
        for name in ("first", "second", "third"):
            assert main(["sync", name, "--to", "clearml"]) == 0
        yield folder / "runs", server


def _file(path: Path) -> Path:
    path.write_text("12345")
    return path


@pytest.fixture
def both(sent: object, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command on the folder and on the server, and returns both as JSON."""

    def run(*arguments: str) -> tuple[Any, Any]:
        capsys.readouterr()
        answers = []
        for option in ([], ["--server"]):
            assert main(["runs", *arguments, "--json", *option]) == 0
            answers.append(json.loads(capsys.readouterr().out))
        return answers[0], answers[1]

    return run


def test_list_is_the_same(both: Any, sent: tuple[Path, LocalServer]) -> None:
    here, there = both("list", "--sort", "name")
    same = ("name", "status", "project", "tags", "notes", "steps", "best", "single_values")
    assert [{key: run[key] for key in same} for run in there] == [
        {key: run[key] for key in same} for run in here
    ]
    assert all(run["path"].startswith(f"{sent[1].url}/projects/") for run in there)


@pytest.mark.parametrize(
    "options", [[], ["--mode", "max"], ["--metric", "bleu"], ["--metric", "train/loss"], ["--metric", "exact_match"]]
)  # fmt: skip
def test_best_is_the_same(both: Any, options: list[str]) -> None:
    here, there = both("best", *options)
    assert there == here and len(here["runs"]) == 3


def test_show_is_the_same(both: Any) -> None:
    here, there = both("show", "second")
    assert (there["parameters"], there["series"]) == (here["parameters"], here["series"])
    (artifact,) = there["files"]
    assert artifact["sha256"] == here["files"][0]["sha256"] and artifact["size"] == 5


def test_compare_is_the_same(both: Any) -> None:
    here, there = both("compare", "first", "second", "third")
    assert there == here
    assert set(here["parameters"]) == {"model.d_model", "note"} and here["best"]["validation/loss"] == "first"


def test_tasks_are_named_by_id_and_stand_beside_folders(
    sent: tuple[Path, LocalServer], capsys: pytest.CaptureFixture[str]
) -> None:
    runs_dir, server = sent
    ids = {task["name"]: task["id"] for task in server.tasks("team/dates")}
    capsys.readouterr()
    command = [
        "runs",
        "compare",
        "--server",
        ids["first"],
        ids["second"][:12],
        str(runs_dir / "third"),
        "--json",
    ]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == ["first", "second", "third"]
    assert main(["runs", "show", "latest", "--server"]) == 0
    assert f"{server.url}/projects/" in capsys.readouterr().out
    assert main(["runs", "show", "nobody", "--server"]) == 1
    assert "next: stepwise runs list --server" in capsys.readouterr().err


def test_compare_prints_csv_and_html(
    sent: tuple[Path, LocalServer], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["runs", "compare", "first", "second", "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["kind", "name", "best", "first", "second"]
    assert ["parameter", "model.d_model", "", "64", "128"] in rows
    assert ["parameter", "note", "", "", f"'{EVIL}"] in rows, "a spreadsheet must not run it"
    assert ["metric", "validation/loss", "first", "0.5", "1.5"] in rows
    assert main(["runs", "compare", "first", "second", "--format", "html"]) == 0
    page = capsys.readouterr().out
    assert '<td class="n">★ 0.5</td>' in page and "=1+1&lt;b&gt;" in page and "<b>" not in page


def test_tasks_of_one_name_are_told_apart(
    sent: tuple[Path, LocalServer], capsys: pytest.CaptureFixture[str]
) -> None:
    _, server = sent
    made = [server.api("tasks.create", name="twin", type="training")["id"] for _ in range(2)]
    try:
        capsys.readouterr()
        assert main(["runs", "list", "--server", "--filter", "twin", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {run["name"] for run in found} == {f"twin ({one[:8]})" for one in made}
        assert {run["status"] for run in found} == {"created"}
        assert main(["runs", "show", "twin", "--server"]) == 1
        assert "may mean 2 tasks" in capsys.readouterr().err
    finally:
        for one in made:
            server.api("tasks.delete", task=one, force=True)


def test_a_server_that_is_gone_or_refuses_us_has_its_exit_code(
    sent: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "wrong")
    assert main(["runs", "list", "--server"]) == 5
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    assert main(["runs", "list", "--server"]) == 4
    assert "next: stepwise track doctor" in capsys.readouterr().err
