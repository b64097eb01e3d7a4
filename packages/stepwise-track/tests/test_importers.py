"""Runs that other tools have written become run folders: same values, steps and times; each source once."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracker_tools import LOSSES, log_everything
from wandb_tools import folder_of, wandb_alone

from stepwise_track import TrackError, read_run, summarize
from stepwise_track.events import Artifact, Histogram, Parameters, Picture, RunStarted, Scalars, Table, Text
from stepwise_track.files import sha256_of
from stepwise_track.importers import FoundRun, import_run, write_journal
from stepwise_track.journal import JournalReader
from stepwise_track.reader import RunJournal
from stepwise_track.relay import sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def of(journal: RunJournal, kind: type[Any]) -> list[Any]:
    return [record.event for record in journal.records if isinstance(record.event, kind)]


def same(points: list[Any], expected: dict[int, float]) -> bool:
    """Compare a curve; NaN equals itself."""
    pairs = [(step, value) for step, value, _ in points]
    return len(pairs) == len(expected) and all(
        step == one and (value == pytest.approx(want) or (math.isnan(want) and math.isnan(value)))
        for (step, value), (one, want) in zip(pairs, expected.items(), strict=True)
    )


def files_are_there(run_dir: Path) -> int:
    """Check every file that the journal names, and return how many there are."""
    journal = read_run(run_dir)
    files = [file for one in of(journal, Artifact) for file in one.files]
    files += [one.file for one in of(journal, Picture)]
    assert all(sha256_of(run_dir / file.path) == file.sha256 for file in files)
    return len(files)


def refused(source: str, runs_dir: Path) -> str:
    with pytest.raises(TrackError) as caught:
        import_run(source, runs_dir)
    assert caught.value.hint
    assert not list(runs_dir.glob(".import-*"))
    return str(caught.value)


def test_tensorboard_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log_everything(tmp_path / "run")
    sync(tmp_path / "run", ["tensorboard"])
    logdir = tmp_path / "logs" / "mine"
    shutil.move(tmp_path / "run" / "tensorboard", logdir)
    run_dir = import_run(str(logdir), tmp_path / "runs")
    journal, original = read_run(run_dir), read_run(tmp_path / "run")
    assert run_dir.name == "mine" and journal.damage is None
    assert same(journal.series()["train/loss"], LOSSES)
    assert [point[2] for point in journal.series()["train/loss"]] == [
        point[2] for point in original.series()["train/loss"]
    ]
    assert "two <words> & ü" in [one.text for one in of(journal, Text)]
    (picture,) = of(journal, Picture)
    (first, *_) = of(original, Picture)
    assert (picture.name, picture.step) == (first.name, 3) and files_are_there(run_dir) == 1
    (histogram,) = of(journal, Histogram)
    assert sum(histogram.counts) == 3
    assert "is here already, as the run mine" in refused(str(logdir), tmp_path / "runs")


def test_tensorboard_files_of_others(tmp_path: Path) -> None:
    """Those that torch or TensorFlow write: older records, and a folder for each part."""
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto import event_pb2, summary_pb2  # type: ignore[import-untyped]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]

    for part, factor in (("train", 1.0), ("eval", 2.0)):
        writer = EventFileWriter(str(tmp_path / "logs" / part))
        for step in range(5):
            value = summary_pb2.Summary.Value(tag="loss", simple_value=factor * step)
            summary = summary_pb2.Summary(value=[value])
            writer.add_event(event_pb2.Event(wall_time=1000.0 + step, step=step, summary=summary))
        writer.close()
    run_dir = import_run(str(tmp_path / "logs"), tmp_path / "runs", "named")
    assert run_dir.name == "named"
    assert read_run(run_dir).series() == {
        "train/loss": [(step, 1.0 * step, 1000.0 + step) for step in range(5)],
        "eval/loss": [(step, 2.0 * step, 1000.0 + step) for step in range(5)],
    }
    assert (summarize(run_dir).status, summarize(run_dir).duration) == ("completed", 4.0)


NATIVE_WANDB = """
import sys, numpy, wandb
run = wandb.init(project="native", name="theirs", dir=sys.argv[1], mode="offline",
                 config={"lr": 0.1, "a": {"b": [1, 2]}},
                 tags=["blue"], notes="why")
print("said\\nto the console")
for step in range(3):
    run.log({"loss": 1 / (step + 1), "bad": float("nan")})
run.log({"picture": wandb.Image(numpy.zeros((4, 4, 3), dtype="uint8")), "weights": wandb.Histogram([1, 2, 3.0]),
         "table": wandb.Table(columns=["a"], data=[[1]])})
run.summary["best"] = 3
run.finish()
"""


def test_a_wandb_folder_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    with wandb_alone(tmp_path, monkeypatch):
        subprocess.run([sys.executable, "-c", NATIVE_WANDB, str(tmp_path)], check=True, capture_output=True)
        (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
        run_dir = import_run(str(file), tmp_path / "runs")
        journal = read_run(run_dir)
        series = journal.series()
        assert [point[:2] for point in series["loss"]] == [(0, 1), (1, 0.5), (2, pytest.approx(1 / 3))]
        assert all(math.isnan(value) for _, value, _ in series["bad"]) and len(series["bad"]) == 3
        assert journal.parameters() == {"lr": 0.1, "a": {"b": [1, 2]}}
        assert journal.single_values() == {"best": 3}
        (started,) = of(journal, RunStarted)
        assert (run_dir.name, started.project_name, started.tags) == ("theirs", "native", ("blue",))
        assert of(journal, Table) == [Table("table", ("a",), ((1,),), 3)]
        assert sum(of(journal, Histogram)[0].counts) == 3 and files_are_there(run_dir) == 1
        console = "\n".join(record.event.text for record in journal.records if record.event.kind == "console")
        assert "said\nto the console" in console
        assert "is here already" in refused(str(file.parent), tmp_path / "runs")


def test_a_wandb_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    with wandb_alone(tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_MODE", "offline")
        log_everything(tmp_path / "here" / "run")
        sync(tmp_path / "here" / "run", ["wandb"])
        folder = str(folder_of(tmp_path / "here" / "run"))
        assert "is here already, as the run run" in refused(folder, tmp_path / "here")
        journal = read_run(import_run(folder, tmp_path / "elsewhere"))
        assert same(journal.series()["train/loss"], LOSSES)
        assert [point[:2] for point in journal.series()["epoch/train_loss"]] == [(2, 0.75)]
        assert journal.parameters()["model"]["d_model"] == 32 and journal.single_values()["bleu"] == 0.5
        assert {"embeddings"} <= {one.name for one in of(journal, Artifact)}


def test_an_mlflow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    place = (tmp_path / "files").as_uri()
    run = client.create_run(
        client.create_experiment("team/x", place), run_name="theirs", start_time=1_000_000
    )
    for step, loss in LOSSES.items():
        client.log_metric(run.info.run_id, "loss", loss, timestamp=2_000_000 + step, step=step)
    client.log_metric(run.info.run_id, "bleu", 0.5, timestamp=2_000_100)
    for name, value in {"lr": "0.1", "model.d_model": "64", "model.act": "relu", "model": "x"}.items():
        client.log_param(run.info.run_id, name, value)
    client.set_tag(run.info.run_id, "mlflow.note.content", "why")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    client.log_artifact(run.info.run_id, str(tmp_path / "weights.bin"), "model")
    client.set_terminated(run.info.run_id, "FAILED", end_time=3_000_000)
    source = f"mlflow:{run.info.run_id}"
    run_dir = import_run(source, tmp_path / "runs")
    journal = read_run(run_dir)
    assert same(journal.series()["loss"], LOSSES)
    assert [time for *_, time in journal.series()["loss"]] == [2000 + step / 1000 for step in LOSSES]
    assert journal.single_values() == {"bleu": 0.5}
    assert journal.parameters()["lr"] == 0.1 and journal.parameters()["model"]
    assert files_are_there(run_dir) == 1
    found = summarize(run_dir)
    assert (found.name, found.project, found.notes, found.status) == ("theirs", "team/x", "why", "failed")
    assert (found.started, found.duration) == (1000.0, 2000.0)
    assert "is here already" in refused(source, tmp_path / "runs")
    assert "cannot be read" in refused("mlflow:" + "0" * 32, tmp_path / "runs")


def test_a_folder_that_is_no_run_is_refused_with_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refused(str(tmp_path / "empty"), tmp_path / "runs").endswith("is no run that can be imported")
    assert not (tmp_path / "runs").exists()


def test_what_is_imported_holds_no_secret_and_any_number_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwise_track.limits.SEGMENT_BYTES", 2000)
    events: Any = [(float(step), Scalars({"train/loss": 1 / (step + 1)}, step)) for step in range(100)]
    found = FoundRun("x", "x", [*reversed(events), (0.5, Parameters({"api_key": "abcdefghijkl"}))])
    write_journal(tmp_path / "journal", "0" * 32, found.records())
    records = list(JournalReader(tmp_path / "journal"))
    assert [record.seq for record in records] == list(range(1, 104))
    assert [record.time for record in records] == sorted(record.time for record in records)
    texts = "".join(path.read_text() for path in sorted((tmp_path / "journal").iterdir()))
    assert len(os.listdir(tmp_path / "journal")) > 2 and "abcdefghijkl" not in texts
    assert np.isclose(RunJournal(records).series()["train/loss"][-1][1], 0.01)


def test_files_that_are_cut_off_or_broken(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run-x.wandb").write_bytes(b"no such thing" * 100)
    assert str(tmp_path / "broken") in refused(str(tmp_path / "broken"), tmp_path / "runs")
    log_everything(tmp_path / "run")
    sync(tmp_path / "run", ["tensorboard"])
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    run_dir = import_run(str(file.parent), tmp_path / "runs")
    assert len(read_run(run_dir).series()["train/loss"]) > 0 and read_run(run_dir).damage is None
    (tmp_path / "closed").touch()
    assert "cannot be imported into" in refused(str(file.parent), tmp_path / "closed")
