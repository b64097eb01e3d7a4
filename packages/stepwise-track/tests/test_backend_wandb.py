"""Weights & Biases by the real SDK: offline folders, read back by W&B's own reader."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tracker_tools import LOSSES, deliver_rest, deliveries, killed_delivery, log_everything, open_run, opened
from wandb_tools import folder_of, of_kind, read_back, rows_logged, rows_of, steps_of, summary_of, wandb_alone

from stepwise_track.backends.protocol import Delivery, Unrepresentable
from stepwise_track.events import Configuration, Console, Histogram, InputDataset, Scalars, Table
from stepwise_track.relay import sync

pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with wandb_alone(tmp_path, monkeypatch):
        yield


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_offline_values_and_steps_are_read_back(tmp_path: Path, offline: None) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir, entity="team")
    (one,) = sync(run_dir, ["wandb"])
    assert (one.pending, one.health, one.finished) == (0, "ok", "completed"), one.error
    records = read_back(run_dir)
    (run,) = of_kind(records, "run")
    assert (run["project"], run["entity"], run["display_name"]) == ("team-p", "team", "my run")
    assert (run["tags"], run["notes"]) == (["a tag"], "why") and "resume" not in run
    assert [one["exit_code"] for one in of_kind(records, "exit")] == [0]

    rows = rows_of(records)
    assert [row["_step"] for row in rows] == rows_logged(run_dir)
    times = {one.seq: one.time for one in deliveries(run_dir)}
    assert all(row["_timestamp"] == times[row["_step"]] for row in rows)
    words = [0.5, "NaN", "Infinity", "-Infinity", 0.1]
    assert steps_of(rows, "train/loss") == list(zip(LOSSES, words, strict=True))
    assert [row["epoch"] for row in rows if "epoch/train_loss" in row] == [2]
    assert steps_of(rows, "odd [name]") == [(7, 3)]
    axes = {metric["name"]: metric.get("step_metric") for metric in of_kind(records, "metric")}
    assert (axes["train/loss"], axes["epoch/train_loss"], axes["weights"]) == ("step", "epoch", "step")

    summary = summary_of(records)
    assert (summary["bleu"], summary["broken"], summary["train/loss"]) == (0.5, "NaN", 0.1)
    config: dict[str, Any] = {}
    for update in of_kind(records, "config"):
        config |= update["update"]
    assert config["model"] == {"d_model": 32, "dropout": "NaN"}


def test_offline_files_are_read_back(tmp_path: Path, offline: None) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    (one,) = sync(run_dir, ["wandb"])
    assert one.pending == 0, one.error
    records = read_back(run_dir)
    media = folder_of(run_dir) / "files"
    rows = rows_of(records)

    def shown(name: str) -> tuple[int, bytes, str]:
        (row,) = [row for row in rows if f"{name}.path" in row]
        return row["step"], (media / row[f"{name}.path"]).read_bytes(), row[f"{name}.sha256"]

    step, table, _ = shown("Final Metrics")
    content = json.loads(table)
    assert step == 6 and content["columns"] == ["Metric", "Value"]
    assert content["data"][0] == ["bleu", 0.5] and math.isnan(content["data"][1][1])
    step, png, digest = shown("cat")
    assert step == 3 and png == (run_dir / "pictures" / "cat_00000003.png").read_bytes()
    assert digest == hashlib.sha256(png).hexdigest()
    assert b"two &lt;words&gt; &amp; \xc3\xbc" in shown("note")[1] and shown("drawing")[1] == b"<svg/>"
    (histogram,) = [row for row in rows if "weights.bins" in row]
    assert sum(histogram["weights.values"]) == 3 and histogram["weights/not_finite"] == 1
    assert (histogram["weights.bins"][0], histogram["weights.bins"][-1]) == (1, 2.5)

    artifacts = {artifact["name"]: artifact for artifact in of_kind(records, "artifact")}
    assert artifacts["picture-broken-picture"]["manifest"]["contents"][0]["size"] == "10"
    (entry,) = artifacts["embeddings"]["manifest"]["contents"]
    assert entry["digest"] == base64.b64encode(hashlib.md5(b"123" * 100).digest()).decode()
    assert Path(entry["local_path"]).read_bytes() == b"123" * 100
    (checkpoint,) = [one for name, one in artifacts.items() if name.endswith("-checkpoint")]
    assert (checkpoint["type"], sorted(checkpoint["aliases"])) == ("model", ["best", "latest", "step-5"])
    contents = {
        entry["path"]: Path(entry["local_path"]).read_bytes() for entry in checkpoint["manifest"]["contents"]
    }
    assert contents == {"model.safetensors": b"weights 5", "optimizer.safetensors": b"optimizer"}
    assert json.loads(checkpoint["metadata"])["step"] == 5
    assert one.degraded["checkpoint: a file left out: it was changed before its turn came"] == 1
    assert not (tmp_path / "home" / ".local").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("flushed", "killed_at", "after_s"), [(0, 5, 0), (10, 15, 0), (10, 22, 3)])
def test_offline_a_kill_leaves_one_folder_with_everything_once(
    tmp_path: Path, offline: None, flushed: int, killed_at: int, after_s: float
) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    killed_delivery("wandb", run_dir, flushed, killed_at, after_s)
    deliver_rest("wandb", run_dir, flushed, killed_at)
    records = read_back(run_dir)
    assert [row["_step"] for row in rows_of(records)] == rows_logged(run_dir)
    names = [artifact["name"] for artifact in of_kind(records, "artifact")]
    assert len([name for name in names if name == "embeddings"]) == 1
    assert len([name for name in names if name.endswith("-checkpoint")]) == 2
    assert len(of_kind(records, "exit")) == 1


def test_offline_a_file_outlives_its_original_even_through_a_kill(tmp_path: Path, offline: None) -> None:
    run_dir = tmp_path / "run"
    weights = run_dir / "model.bin"
    with open_run(run_dir) as logger:
        weights.write_bytes(b"first")
        logger.log_checkpoint(None, None, 1, 1, 0.5, weights)
        killed_delivery("wandb", run_dir, 2, 2)
        weights.write_bytes(b"second")
        logger.log_checkpoint(None, None, 1, 2, 0.4, weights)
    deliver_rest("wandb", run_dir, 2, 2)
    paths = [one["manifest"]["contents"][0]["local_path"] for one in of_kind(read_back(run_dir), "artifact")]
    assert [Path(path).read_bytes() for path in paths] == [b"first", b"second"]


def test_a_failed_and_resumed_run_keeps_both_attempts_in_one_folder(tmp_path: Path, offline: None) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(ZeroDivisionError), open_run(run_dir) as logger:
        for step in (1, 2, 3):
            logger.log_training_step(loss=float(step), step=step)
        raise ZeroDivisionError
    sync(run_dir, ["wandb"])
    records = read_back(run_dir)
    (alert,) = of_kind(records, "alert")
    assert alert["title"] == "my run failed" and alert["level"] == "ERROR"
    assert of_kind(records, "exit")[0]["exit_code"] == 1
    with open_run(run_dir, resume_step=2) as logger:
        logger.log_training_step(loss=30.0, step=3)
        logger.finish("stopped")
    sync(run_dir, ["wandb"])
    records = read_back(run_dir)
    losses = [
        (row["step"], row["train/loss"], row.get("attempt"))
        for row in rows_of(records)
        if "train/loss" in row
    ]
    assert losses == [(1, 1, None), (2, 2, None), (3, 3, None), (3, 30, 1)]
    assert of_kind(records, "exit")[0]["exit_code"] == 255


def test_what_has_no_call_of_its_own_is_kept_too(tmp_path: Path, offline: None) -> None:
    run_dir = tmp_path / "run"
    with open_run(run_dir) as logger:
        logger.log_single_value("x", 1)
    written = deliveries(run_dir)
    journal, seq = written[0].journal_id, written[-1].seq
    edges = tuple(float(edge) for edge in range(1025))
    events = [
        Console("stdout", "one\ntwo"),
        Console("stderr", "three", dropped=4),
        Configuration("run.yaml", "a: 1\n"),
        InputDataset("dates", "v3", info={"size": 10}),
        Histogram("wide", edges, (1,) * 1024, step=1),
        Histogram("torn", edges, (1, 2), step=1),
        Table("same", ("a", "a"), ((1, "x"), ("y", None)), step=1),
        Scalars({"step": 1.0, "_private": 2.0}, 1),
        Scalars({"machine/cpu": 0.5}, None, axis="seconds", seconds=1.5),
    ]
    backend, context = opened("wandb", run_dir)
    later = [Delivery(journal, seq + n, float(n), event) for n, event in enumerate(events, 1)]
    with pytest.raises(Unrepresentable) as caught:
        backend.deliver([*written, *later])
    torn = caught.value.seq
    assert isinstance(later[torn - seq - 1].event, Histogram)
    backend.deliver([one for one in [*written, *later] if one.seq != torn])  # as the worker does
    backend.flush()
    backend.finish("completed")
    records = read_back(run_dir)
    assert [one["line"] for one in of_kind(records, "output_logger")] == [
        "one\ntwo\n",
        "[4 lines left out]\nthree\n",
    ]
    assert (folder_of(run_dir) / "files/configuration/run.yaml").read_text() == "a: 1\n"
    (config,) = of_kind(records, "config")
    assert config["update"]["input_datasets"]["dates"]["version"] == "v3"
    rows = rows_of(records)
    assert (len(rows[0]["wide.values"]), sum(rows[0]["wide.values"])) == (512, 1024)
    table = json.loads((folder_of(run_dir) / "files" / rows[1]["same.path"]).read_text())
    assert table == {"columns": ["a", "a (2)"], "data": [[1, "x"], ["y", None]]}
    assert (rows[2]["step"], rows[2]["step_value"], rows[2]["private_value"]) == (1, 1, 2)
    assert (rows[3]["seconds"], rows[3]["machine/cpu"]) == (1.5, 0.5)
    assert context.degraded["histogram: neighbouring bins joined: W&B takes 512"] == 1


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_disabled_sends_nothing_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    run_dir = tmp_path / "run"
    with open_run(run_dir) as logger:
        logger.log_training_step(loss=1.0, step=1)
    monkeypatch.setenv(name, value)
    (one,) = sync(run_dir, ["wandb"])
    assert one.health == "rejected" and "disabled by WANDB_" in one.error and one.pending
    assert not (run_dir / "wandb").exists()
    monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    sync(run_dir, ["wandb"])
    assert steps_of(rows_of(read_back(run_dir)), "train/loss") == [(1, 1)]


def test_wandbs_own_variables_win(tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "elsewhere")
    monkeypatch.setenv("WANDB_ENTITY", "others")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    with open_run(tmp_path / "run", entity="team"):
        pass
    sync(tmp_path / "run", ["wandb"])
    (run,) = of_kind(read_back(tmp_path / "there"), "run")
    assert (run["project"], run["entity"]) == ("elsewhere", "others")
