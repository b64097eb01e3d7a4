"""Tasks move to another server: everything of them, once, however often."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checked_server import CheckedServer

from stepwise_server.export import Remote, Report, export_tasks
from stepwise_server.installation import client_credentials
from stepwise_server.testing import LocalServer


def remote(server: LocalServer) -> Remote:
    pair = client_credentials(server.settings.folder)
    return Remote(f"{server.url}/api", f"{server.url}/files", *pair)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LocalServer]:
    with CheckedServer(tmp_path / "source") as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalServer]:
    with CheckedServer(tmp_path / "target") as running:
        yield running


def upload(server: LocalServer, folder: Path, path: str, content: bytes) -> str:
    file = folder / "upload.bin"
    file.write_bytes(content)
    return remote(server).upload(path, file)


def make_run(server: LocalServer, folder: Path) -> str:
    """Make a run with everything, published, as the step of a parent."""
    project = server.api("projects.create", name="team/dates", tags=["p"])["id"]
    parent = server.api("tasks.create", name="the parent", type="controller", project=project)["id"]
    task: str = server.api(
        "tasks.create", name="run #1 ü", type="training", project=project, parent=parent, tags=["a"],
        hyperparams={"G": {"a.b": {"section": "G", "name": "a.b", "value": "1"}}},
        script={"diff": "x" * 1000, "entry_point": "train.py"}, runtime={"a/b": None, "n": 1},
    )["id"]  # fmt: skip
    server.api("tasks.started", task=task)
    picture = upload(server, folder, "team/run %23/metrics/p.png", b"picture")
    weights = upload(server, folder, "team/run %23/models/w.bin", b"weights" * 1000)
    server.events(*({"task": task, "type": "training_stats_scalar", "metric": "loss", "variant": "train",
                     "iter": step, "value": step / 7, "timestamp": 1_700_000_000_000 + step}
                    for step in range(5000)))  # fmt: skip
    server.events(*({"task": task, "type": "log", "msg": f"line {number}"} for number in range(300)))
    figure = {"data": [], "layout": {"images": [{"source": picture}]}}
    server.events(
        {"task": task, "type": "training_stats_scalar", "metric": "Summary", "variant": "best", "iter": -(2**31),
         "value": 0.5},
        {"task": task, "type": "plot", "metric": "p", "variant": "v", "iter": 1, "plot_str": json.dumps(figure)},
        {"task": task, "type": "training_debug_image", "metric": "i", "variant": "v", "iter": 1, "url": picture},
    )  # fmt: skip
    artifact = {"key": "data", "type": "bin", "uri": weights, "hash": "h", "timestamp": 1}
    server.api("tasks.add_or_update_artifacts", task=task, artifacts=[artifact])
    model = server.api("models.create", name="weights", uri=weights, ready=False, task=task, project=project)[
        "id"
    ]
    server.api(
        "models.add_or_update_metadata", model=model, metadata=[{"key": "k", "type": "str", "value": "v"}]
    )
    server.api(
        "tasks.add_or_update_model", task=task, name="weights", model=model, type="output", iteration=5
    )
    server.api("tasks.completed", task=task)
    server.api("tasks.publish", task=task)
    return task


def last_metrics(task: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the numbers of a task's cells; sums in another order differ in the last digit."""
    cells = [cell for variants in task["last_metrics"].values() for cell in variants.values()]
    return {
        f"{cell['metric']}/{cell['variant']}": {k: v for k, v in cell.items() if not isinstance(v, str)}
        for cell in cells
    }


def export(source: LocalServer, target: LocalServer, folder: Path, **options: Any) -> Report:
    return export_tasks(remote(source), remote(target), folder / "ledgers", **options)


def test_everything_of_a_run_arrives(source: LocalServer, target: LocalServer, tmp_path: Path) -> None:
    task = make_run(source, tmp_path)
    report = export(source, target, tmp_path)
    moved = target.api("tasks.get_by_id", task=report.moved[task])["task"]
    original = source.api("tasks.get_by_id", task=task)["task"]
    same = (
        "name",
        "type",
        "status",
        "tags",
        "hyperparams",
        "script",
        "created",
        "last_iteration",
    )
    assert {name: moved[name] for name in same} == {name: original[name] for name in same}
    cells, expected = last_metrics(moved), last_metrics(original)
    assert cells.keys() == expected.keys() and all(
        cells[name] == pytest.approx(expected[name]) for name in cells
    )
    assert moved["runtime"]["a/b"] is None
    assert target.api("projects.get_by_id", project=moved["project"])["project"]["name"] == "team/dates"
    assert target.api("tasks.get_by_id", task=moved["parent"])["task"]["name"] == "the parent"
    raw = {"metric": {"metric": "loss"}, "batch_size": 10_000, "key": "timestamp"}
    points = target.api("events.scalar_metrics_iter_raw", task=moved["id"], **raw)["variants"]
    assert points == source.api("events.scalar_metrics_iter_raw", task=task, **raw)["variants"]
    lines = target.api("events.get_task_log", task=moved["id"], batch_size=1000)["events"]
    assert sorted(event["msg"] for event in lines) == sorted(f"line {number}" for number in range(300))
    [plot] = target.api("events.get_task_plots", task=moved["id"])["plots"]
    assert target.url in plot["plot_str"] and source.url not in plot["plot_str"]
    [artifact] = moved["execution"]["artifacts"]
    content = tmp_path / "content"
    assert artifact["uri"].startswith(target.url) and remote(target).download(artifact["uri"], content)
    assert hashlib.sha256(content.read_bytes()).digest() == hashlib.sha256(b"weights" * 1000).digest()
    model = target.api("models.get_by_id", model=moved["models"]["output"][0]["model"])["model"]
    assert model["uri"] == artifact["uri"] and model["ready"] and model["metadata"]["k"]["value"] == "v"


def test_it_is_moved_once_however_often(source: LocalServer, target: LocalServer, tmp_path: Path) -> None:
    task = make_run(source, tmp_path)
    first = export(source, target, tmp_path)
    second = export(source, target, tmp_path)
    assert not second.moved and len(second.unchanged) == 2
    third = export_tasks(remote(source), remote(target), tmp_path / "a lost ledger")
    assert third.moved == first.moved
    assert len(target.api("tasks.get_all", search_hidden=True)["tasks"]) == 2
    log = target.api("events.get_task_log", task=first.moved[task], batch_size=1000)
    assert log["total"] == 300


def test_a_run_that_went_on_is_brought_up_to_date(
    source: LocalServer, target: LocalServer, tmp_path: Path
) -> None:
    task = source.api("tasks.create", name="it goes on", type="training")["id"]
    source.api("tasks.started", task=task)
    source.events(*({"task": task, "type": "log", "msg": f"line {number}"} for number in range(10)))
    moved = export(source, target, tmp_path).moved[task]
    assert target.api("tasks.get_by_id", task=moved)["task"]["status"] == "stopped"
    source.events(*({"task": task, "type": "log", "msg": f"line {number}"} for number in range(10, 15)))
    source.api("tasks.completed", task=task)
    assert export(source, target, tmp_path, tasks=[task]).moved == {task: moved}
    lines = target.api("events.get_task_log", task=moved, batch_size=1000)["events"]
    assert sorted(event["msg"] for event in lines) == sorted(f"line {number}" for number in range(15))
    assert target.api("tasks.get_by_id", task=moved)["task"]["status"] == "completed"


def test_what_was_deleted_there_stays_deleted(
    source: LocalServer, target: LocalServer, tmp_path: Path
) -> None:
    task = source.api("tasks.create", name="deleted there", type="training")["id"]
    moved = export(source, target, tmp_path).moved[task]
    target.api("tasks.delete", task=moved, force=True)
    source.api("tasks.update", task=task, comment="changed")
    assert export(source, target, tmp_path).deleted == [task]
    assert target.api("tasks.get_all")["tasks"] == []


def test_only_one_project_if_asked(source: LocalServer, target: LocalServer, tmp_path: Path) -> None:
    make_run(source, tmp_path)
    other = source.api("projects.create", name="other")["id"]
    source.api("tasks.create", name="elsewhere", type="training", project=other)
    assert len(export(source, target, tmp_path, project="team").moved) == 2
