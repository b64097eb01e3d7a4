"""Pictures, checkpoints and artifacts: what the journal references is there, whole, and inside the run folder."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stepwise_track import ExperimentLogger, TrackError
from stepwise_track.events import Artifact, Checkpoint, Event, FileRef, Picture

Logged = Callable[[ExperimentLogger], list[Event]]


def assert_whole(run_dir: Path, file: FileRef) -> Path:
    """Check a reference against the file, and return its path."""
    content = (run_dir / file.path).read_bytes()
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return run_dir / file.path


def test_images_of_every_kind(logger: ExperimentLogger, logged: Logged, tmp_path: Path) -> None:
    gradient = np.linspace(0, 1, 12).reshape(3, 4)
    colors = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    Image.fromarray(colors).save(tmp_path / "outside.png")
    logger.log_image("attention/layer 0", gradient, step=7)
    logger.log_image("colors", colors)
    logger.log_image("pillow", Image.fromarray(colors))
    logger.log_image("outside", tmp_path / "outside.png")
    pictures = [event for event in logged(logger) if isinstance(event, Picture)]
    read = [np.asarray(Image.open(assert_whole(logger.run_dir, one.file))) for one in pictures]
    assert [one.name for one in pictures] == ["attention/layer 0", "colors", "pillow", "outside"]
    assert (read[0] == np.round(gradient * 255)).all()
    assert all((one == colors).all() for one in read[1:])
    assert pictures[0].file.path.startswith("pictures/attention-layer-0-")
    assert pictures[0].file.path.endswith("_00000007.png")
    with pytest.raises(TrackError, match=r"'vector' is no picture: an array of shape \[5\]"):
        logger.log_image("vector", np.zeros(5))


def test_figures_of_matplotlib_and_plotly(logger: ExperimentLogger, logged: Logged) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure()
    figure.subplots().plot([1, 2, 3])

    class Plotly:  # what this package uses of a plotly figure
        def to_plotly_json(self) -> dict[str, Any]:
            return {"data": []}

        def to_json(self) -> str:
            return json.dumps(self.to_plotly_json())

    logger.log_figure("curve", figure, step=3)
    logger.log_figure("interactive", Plotly())
    curve, interactive = (event for event in logged(logger) if isinstance(event, Picture))
    assert (curve.source, curve.step) == ("figure", 3)
    assert Image.open(assert_whole(logger.run_dir, curve.file)).size > (100, 100)
    assert json.loads(assert_whole(logger.run_dir, interactive.file).read_text()) == {"data": []}


def test_names_that_look_alike_do_not_share_a_file(logger: ExperimentLogger, logged: Logged) -> None:
    for shade, name in enumerate(["a/b", "a-b", "a b", "../../a"]):
        logger.log_image(name, np.full((2, 2), shade, dtype=np.uint8))
    pictures = [event for event in logged(logger) if isinstance(event, Picture)]
    for shade, picture in enumerate(pictures):
        path = assert_whole(logger.run_dir, picture.file)
        assert (np.asarray(Image.open(path)) == shade).all()
        assert path.resolve().is_relative_to(logger.run_dir.resolve())


def test_artifacts_come_along_from_outside(logger: ExperimentLogger, logged: Logged, tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "b.bin").write_bytes(bytes(range(256)))
    (tmp_path / "a.txt").write_text("first")
    (logger.run_dir / "evaluation.json").write_text("{}")
    logger.log_artifact("text", tmp_path / "a.txt", {"rows": 3}, step=2)
    (tmp_path / "a.txt").write_text("second")
    logger.log_artifact("text", tmp_path / "a.txt")
    logger.log_artifact("text", tmp_path / "a.txt")
    logger.log_artifact("folder", tmp_path / "folder")
    logger.log_artifact("inside", logger.run_dir / "evaluation.json")
    logger.log_model("model", tmp_path / "a.txt", "pytorch", ["prod"], {"labels": 3})
    found = [event for event in logged(logger) if isinstance(event, Artifact)]
    paths = [[assert_whole(logger.run_dir, file) for file in event.files] for event in found]
    assert [path.read_text() for path in (*paths[0], *paths[1], *paths[5])] == ["first", "second", "second"]
    assert [event.files[0].path for event in found] == [
        "artifacts/a.txt",
        "artifacts/a-2.txt",
        "artifacts/a-2.txt",
        "artifacts/folder/deep/b.bin",
        "evaluation.json",
        "artifacts/a-2.txt",
    ]
    assert (found[0].metadata, found[0].step, found[0].role) == ({"rows": 3}, 2, "artifact")
    assert found[5].role == "model"
    assert found[5].metadata == {"framework": "pytorch", "tags": ["prod"], "labels": 3}


def test_what_is_not_there_is_named(logger: ExperimentLogger, logged: Logged, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrackError, match=r"no file or folder .*missing\.pt"):
        logger.log_artifact("x", tmp_path / "missing.pt")
    with pytest.raises(TrackError, match=r"no file or folder .*missing\.pt"):
        logger.log_checkpoint(None, None, 1, 1, 0.5, tmp_path / "missing.pt")
    with pytest.raises(TrackError, match=r"the folder .*empty is empty"):
        logger.log_model("x", tmp_path / "empty")
    assert logged(logger) == []


def test_a_written_checkpoint_folder_is_recorded(logger: ExperimentLogger, logged: Logged) -> None:
    folder = logger.run_dir / "checkpoints" / "step-00000100"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "state.json").write_bytes(b"{}")
    logger.log_checkpoint(None, None, 1, 100, 0.5, folder, is_best=True, additional_metadata={"bleu": 30.5})
    (event,) = logged(logger)
    assert isinstance(event, Checkpoint)
    assert [file.path for file in event.files] == [
        "checkpoints/step-00000100/model.safetensors",
        "checkpoints/step-00000100/state.json",
    ]
    for file in event.files:
        assert_whole(logger.run_dir, file)
    assert (event.step, event.epoch, event.loss, event.is_best) == (100, 1, 0.5, True)
    assert event.metadata == {"bleu": 30.5}


def test_a_model_is_saved_as_safetensors_with_its_optimizer(logger: ExperimentLogger, logged: Logged) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 3), "out": torch.nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["embed"].weight  # tied, as in transformers
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.125)
    model["out"](torch.ones(3)).sum().backward()
    optimizer.step()
    path = logger.run_dir / "checkpoints" / "model.safetensors"
    logger.log_checkpoint(model, optimizer, 1, 10, 0.5, path)
    with torch.no_grad():
        model["embed"].weight += 1
    logger.log_checkpoint(model, optimizer, 2, 20, 0.25, path)  # its own file: replaced

    fresh = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 3), "out": torch.nn.Linear(3, 5, bias=False)})
    fresh["out"].weight = fresh["embed"].weight
    safetensors.load_model(fresh, str(path))
    assert torch.equal(fresh["embed"].weight, model["embed"].weight)
    state = safetensors.load_file(str(path.with_name("model.optimizer.safetensors")))
    assert torch.equal(state["0.exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    events = logged(logger)
    assert [len(event.files) for event in events if isinstance(event, Checkpoint)] == [2, 2]
    assert isinstance(events[1], Checkpoint) and assert_whole(logger.run_dir, events[1].files[0]) == path


def test_a_file_of_the_user_is_never_overwritten(
    logger: ExperimentLogger, logged: Logged, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    mine = tmp_path / "checkpoint.pt"
    mine.write_bytes(b"precious")
    logger.log_checkpoint(torch.nn.Linear(2, 2), None, 1, 10, 0.5, mine)
    assert mine.read_bytes() == b"precious"
    (event,) = logged(logger)
    assert isinstance(event, Checkpoint)
    assert assert_whole(logger.run_dir, event.files[0]).read_bytes() == b"precious"
