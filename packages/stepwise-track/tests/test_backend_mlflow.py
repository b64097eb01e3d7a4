"""MLflow: what was logged is read back by its own client, once, from a database and from a folder of files."""

import hashlib
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tracker_tools import (
    LOSSES,
    deliver_rest,
    deliveries,
    killed_delivery,
    log_everything,
    open_run,
    opened,
)

from stepwise_track.backends.protocol import Rejected, Unreachable
from stepwise_track.relay import sync

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

LARGEST = 1.7976931348623157e308


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's MLflow is seen or changed."""
    for name in [name for name in os.environ if "MLFLOW" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["sqlite", "files", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where runs go: the database that is the default, a folder of files, MLflow's server where it is installed."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'mlflow.db'}"
    elif request.param == "files":
        folder = (tmp_path / "store").as_uri()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", folder)
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield folder
    else:
        pytest.importorskip("flask", reason="the server needs the full mlflow")
        with mlflow_server(tmp_path / "served") as url:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            yield url


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run MLflow's own server on a database and a folder of artifacts."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'served.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    program = f"from mlflow.server import app; app.run(host='127.0.0.1', port={port}, threaded=True)"
    server = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | variables, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def client_of(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def run_of(client: Any) -> Any:
    experiment = client.get_experiment_by_name("team/p")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def files_of(client: Any, run: Any, folder: str = "") -> dict[str, Path]:
    """Return the files of a run below a folder, by the path that MLflow knows them by, downloaded."""
    found: dict[str, Path] = {}
    for item in client.list_artifacts(run.info.run_id, folder or None):
        if item.is_dir:
            found |= files_of(client, run, item.path)
        else:
            found[item.path] = Path(client.download_artifacts(run.info.run_id, item.path))
    return found


def points(client: Any, run: Any, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key)]


def test_numbers_and_parameters_are_read_back(tmp_path: Path, uri: str) -> None:
    log_everything(tmp_path / "run")
    (one,) = sync(tmp_path / "run", ["mlflow"])
    assert (one.pending, one.health, one.finished) == (0, "ok", "completed"), one.error
    client = client_of(uri)
    run = run_of(client)
    assert (run.info.run_name, run.info.status) == ("my run", "FINISHED")
    assert run.data.tags["a tag"] == "true" and run.data.tags["mlflow.note.content"] == "why"

    largest = math.inf if uri.startswith("file:") else LARGEST
    loss = points(client, run, "train/loss")
    assert [step for step, _ in loss] == list(LOSSES)
    assert loss[0][1] == 0.5 and math.isnan(loss[1][1])
    assert [value for _, value in loss[2:]] == [largest, -largest, 0.1]
    logged = {record.event.step: record.time for record in deliveries(tmp_path / "run")[2:7]}  # type: ignore[union-attr]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert {one.step: one.timestamp for one in history} == {s: round(t * 1000) for s, t in logged.items()}
    assert points(client, run, "epoch/train_loss") == [(2, 0.75)]
    assert [value for _, value in points(client, run, "bleu")] == [0.5]
    assert math.isnan(run.data.metrics["broken"])
    odd = next(key for key in run.data.metrics if key.startswith("odd _name_-"))
    assert points(client, run, odd) == [(7, 3.0)]

    assert run.data.params == {"model.d_model": "64", "model.dropout": "NaN"}
    assert run.data.tags["changed.model.d_model"] == "32"
    tree = json.loads(files_of(client, run)["parameters.json"].read_text())
    assert tree == {"model": {"d_model": 32, "dropout": "NaN"}}
    assert one.degraded["scalars: renamed: MLflow does not take the name"] == 1
    assert one.degraded["parameters: changed: the last value is in a tag and in `parameters.json`"] == 1


def test_files_are_read_back(tmp_path: Path, uri: str) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    (one,) = sync(run_dir, ["mlflow"])
    assert one.pending == 0, one.error
    client = client_of(uri)
    run = run_of(client)
    files = files_of(client, run)

    def only(start: str, end: str) -> Path:
        (path,) = [path for name, path in files.items() if name.startswith(start) and name.endswith(end)]
        return path

    (listed,) = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert listed["type"] == "table"
    import pandas

    frame = pandas.read_json(files[listed["path"]], orient="split")
    assert list(frame.columns) == ["Metric", "Value"] and list(frame["Metric"]) == ["bleu", "other"]
    assert frame["Value"][0] == 0.5 and math.isnan(frame["Value"][1])
    assert only("texts/note_00000005", ".txt").read_text(encoding="utf-8") == "two <words> & ü"
    histogram = json.loads(only("histograms/", ".json").read_text())
    assert sum(histogram["counts"]) == 3 and histogram["not_finite"] == 1
    assert (
        only("images/cat+step+3+", ".png").read_bytes()
        == (run_dir / "pictures/cat_00000003.png").read_bytes()
    )
    assert only("images/cat+step+3+", "+compressed.webp").stat().st_size
    assert only("pictures/drawing_00000003", ".svg").read_text() == "<svg/>"
    assert only("artifacts/embeddings", ".bin").read_bytes() == b"123" * 100
    assert json.loads(only("metadata/embeddings", ".json").read_text())["dim"] == 3

    # The first checkpoint was gone when its turn came; what did not change of it is there.
    assert one.degraded["checkpoint: a file left out: it was changed before its turn came"] == 1
    digest = hashlib.sha256(only("checkpoints/00000005", "/model.safetensors").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(b"weights 5").hexdigest()
    best = client.get_model_version_by_alias("team.p.my run", "best")
    assert (best.run_id, best.tags["step"], best.tags["loss"]) == (run.info.run_id, "5", "0.1")
    assert best.source.startswith(f"{run.info.artifact_uri}/checkpoints/00000005")
    assert len(client.search_model_versions("name = 'team.p.my run'")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [8, 19, 22])
def test_after_a_kill_nothing_is_twice_and_nothing_is_missing(
    tmp_path: Path, uri: str, killed_at: int
) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    killed_delivery("mlflow", run_dir, 4, killed_at)
    deliver_rest("mlflow", run_dir, 4, killed_at)
    client = client_of(uri)
    run = run_of(client)
    assert [step for step, _ in points(client, run, "train/loss")] == list(LOSSES)
    for key in run.data.metrics:
        if not key.startswith(("train/", "epoch")):
            assert len(points(client, run, key)) == 1, key
    assert len([name for name in files_of(client, run) if name.startswith(("images/", "texts/"))]) == 3
    assert len(client.search_model_versions("name = 'team.p.my run'")) == 2
    assert run.info.status == "FINISHED"


def test_console_lines_come_once_in_files_of_bounded_size(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stepwise_track.backends.mlflow import files
    from stepwise_track.backends.protocol import Delivery
    from stepwise_track.events import Console

    monkeypatch.setattr(files, "CONSOLE_BYTES", 200)
    run_dir = tmp_path / "run"
    with open_run(run_dir) as logger:
        logger.log_single_value("x", 1)
    last = deliveries(run_dir)[-1]
    lines = [
        Delivery(last.journal_id, last.seq + n, 1.0, Console("stderr" if n == 3 else "stdout", f"line {n}"))
        for n in range(1, 21)
    ]
    backend, context = opened("mlflow", run_dir)
    backend.deliver(deliveries(run_dir))
    for n in range(0, 20, 4):
        before = json.dumps(context.state)
        backend.deliver(lines[n : n + 4])
        if n == 8:  # as after a crash: the state is the old one, the copy and the tracker have the lines
            context.state.clear()
            context.state.update(json.loads(before))
            backend.deliver(lines[n : n + 4])
    client = client_of(uri)
    found = sorted((name, path) for name, path in files_of(client, run_of(client), "console").items())
    text = "".join(path.read_text() for _, path in found)
    assert [line.split()[-1] for line in text.splitlines()] == [str(n) for n in range(1, 21)]
    assert " ! line 3\n" in text and len(found) > 1


def test_a_resumed_run_goes_on_in_the_same_run(tmp_path: Path, uri: str) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(ZeroDivisionError), open_run(run_dir) as logger:
        for step in (1, 2, 3):
            logger.log_training_step(loss=float(step), step=step)
        raise ZeroDivisionError
    sync(run_dir, ["mlflow"])
    client = client_of(uri)
    assert run_of(client).info.status == "FAILED"
    with open_run(run_dir, resume_step=2) as logger:
        logger.log_training_step(loss=30.0, step=3)
        logger.finish("stopped")
    sync(run_dir, ["mlflow"])
    run = run_of(client)
    assert sorted(points(client, run, "train/loss")) == [(1, 1.0), (2, 2.0), (3, 3.0), (3, 30.0)]
    assert run.info.status == "KILLED"


def test_a_store_that_never_saw_the_run_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    with open_run(run_dir, config={"a": 1}) as logger:
        logger.log_training_step(loss=1.0, step=1)
    sync(run_dir, ["mlflow"])
    other = f"sqlite:///{tmp_path / 'other' / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    with open_run(run_dir, resume_step=1) as logger:
        logger.log_training_step(loss=2.0, step=2)
    (one,) = sync(run_dir, ["mlflow"])
    assert one.pending == 0, one.error
    client = client_of(other)
    run = run_of(client)
    assert points(client, run, "train/loss") == [(1, 1.0), (2, 2.0)] and run.data.params == {"a": "1"}


def test_long_parameters_are_cut_and_counted(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", config={"long": "x" * 7000}):
        pass
    (one,) = sync(tmp_path / "run", ["mlflow"])
    assert one.degraded == {"parameters: cut at 6,000 characters; whole in `parameters.json`": 1}
    client = client_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert len(run_of(client).data.params["long"]) == 6000


def test_data_and_tables_of_a_model_are_found_where_mlflow_shows_them(tmp_path: Path) -> None:
    from stepwise_track.backends.protocol import Delivery
    from stepwise_track.events import InputDataset, Table

    run_dir = tmp_path / "run"
    log_everything(run_dir)
    records = deliveries(run_dir)
    seq, journal = records[-1].seq, records[-1].journal_id
    report = Table("report", ("class", "f1"), (("cat", 0.5),), on_model=True)
    data = InputDataset("dates", "v3", info={"size": 10})
    backend, _ = opened("mlflow", run_dir)
    backend.deliver(
        [*records, Delivery(journal, seq + 1, 1.0, report), Delivery(journal, seq + 2, 2.0, data)]
    )
    client = client_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    best = client.get_model_version_by_alias("team.p.my run", "best")
    assert best.tags["table.report"].startswith("tables/report")
    (given,) = run_of(client).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("dates", "v3")


@pytest.fixture
def server() -> Iterator[dict[str, Any]]:
    """A server that answers everything with one status."""
    answer: dict[str, Any] = {"status": 500}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(b"no")

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    one = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    answer["uri"] = f"http://127.0.0.1:{one.server_port}"
    yield answer
    one.shutdown()
    one.server_close()


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (500, Unreachable, "does not answer"),
        (503, Unreachable, "does not answer"),
        (401, Rejected, "refuses us"),
    ],
)
def test_what_a_server_answers_is_told_apart(
    tmp_path: Path,
    server: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    error: Any,
    words: str,
) -> None:
    with open_run(tmp_path / "run"):
        pass
    server["status"] = status
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server["uri"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(error, match=words):
        opened("mlflow", tmp_path / "run")


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path / "run"):
        pass
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unreachable, match="does not answer"):
        opened("mlflow", tmp_path / "run")


def test_a_refused_folder_of_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path / "run"):
        pass
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(Rejected, match="MLFLOW_ALLOW_FILE_STORE=true"):
        opened("mlflow", tmp_path / "run")
