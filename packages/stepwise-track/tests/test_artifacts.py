"""Artifacts of every kind become files that other programs read; reports and configurations become events."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stepwise_track import ExperimentLogger, TrackError
from stepwise_track.events import Artifact, Configuration, Event, InputDataset, Parameters, Table

Logged = Callable[[ExperimentLogger], list[Event]]


def only_file(logger: ExperimentLogger, events: list[Event]) -> Path:
    (event,) = events
    assert isinstance(event, Artifact)
    (file,) = event.files
    return logger.run_dir / file.path


def test_mappings_and_lists_are_json(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_artifact(
        "best settings", {"lr": 1e-3, "path": Path("a"), "api_key": "abcdef123"}, {"why": "x"}, 3
    )
    file = only_file(logger, logged(logger))
    assert file.parent.name == "artifacts" and file.suffix == ".json" and "00000003" in file.name
    assert json.loads(file.read_text()) == {"lr": 1e-3, "path": "a", "api_key": "***"}


def test_arrays_are_npy(logger: ExperimentLogger, logged: Logged) -> None:
    embeddings = np.arange(12, dtype=np.float32).reshape(3, 4)
    logger.log_artifact("embeddings", embeddings)
    assert (np.load(only_file(logger, logged(logger)), allow_pickle=False) == embeddings).all()
    with pytest.raises(TrackError, match="would need pickle"):
        logger.log_artifact("objects", np.array([{}, None]))
    assert sorted(file.name for file in (logger.run_dir / "artifacts").iterdir()) == ["embeddings.npy"]


def test_tensors_are_npy(logger: ExperimentLogger, logged: Logged) -> None:
    torch = pytest.importorskip("torch")
    logger.log_artifact("embeddings", torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True))
    assert np.load(only_file(logger, logged(logger))).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_frames_are_csv(logger: ExperimentLogger, logged: Logged) -> None:
    class Frame:
        def to_csv(self, path: Path) -> None:
            path.write_text("a,b\n1,2\n")

    logger.log_artifact("predictions", Frame())
    file = only_file(logger, logged(logger))
    assert (file.name, file.read_text()) == ("predictions.csv", "a,b\n1,2\n")


def test_texts_and_bytes(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_artifact("notes", "two words, 日本\nand a line")
    logger.log_artifact("raw", b"\x00\x01")
    logger.log_artifact("word", "converged")
    files = [logger.run_dir / event.files[0].path for event in logged(logger) if isinstance(event, Artifact)]
    assert [file.name for file in files] == ["notes.txt", "raw.bin", "word.txt"]
    assert files[0].read_text(encoding="utf-8") == "two words, 日本\nand a line"
    assert files[1].read_bytes() == b"\x00\x01"


@pytest.mark.parametrize("path", ["results/predictions.csv", "predictions.csv", "nowhere/"])
def test_a_path_with_nothing_at_it_is_a_mistake_not_a_text(logger: ExperimentLogger, path: str) -> None:
    with pytest.raises(TrackError, match="there is no file or folder"):
        logger.log_artifact("predictions", path)


def test_what_has_no_format_is_refused(logger: ExperimentLogger) -> None:
    with pytest.raises(TrackError, match="'model' is function, which has no file format"):
        logger.log_artifact("model", test_what_has_no_format_is_refused)


def test_a_name_logged_twice_keeps_both_contents(logger: ExperimentLogger, logged: Logged) -> None:
    for value in ([1], [2], [1]):
        logger.log_artifact("numbers", value)
    paths = [event.files[0].path for event in logged(logger) if isinstance(event, Artifact)]
    assert paths == ["artifacts/numbers.json", "artifacts/numbers-2.json", "artifacts/numbers.json"]
    assert json.loads((logger.run_dir / paths[0]).read_text()) == [1]


def test_a_classification_report_of_labels(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_classification_report(["a", "a", "b", "c"], np.array(["a", "b", "b", "b"]), step=9)
    (table,) = logged(logger)
    assert isinstance(table, Table) and table.on_model and table.step == 9
    assert (table.name, table.columns) == (
        "Classification Report",
        ("class", "precision", "recall", "f1-score", "support"),
    )
    # By hand, with the definitions of scikit-learn and zero_division=0.
    expected = [
        ("a", 1.0, 0.5, 2 / 3, 2),
        ("b", 1 / 3, 1.0, 0.5, 1),
        ("c", 0.0, 0.0, 0.0, 1),
        ("accuracy", None, None, 0.5, 4),
        ("macro avg", 4 / 9, 0.5, 7 / 18, 4),
        ("weighted avg", 7 / 12, 0.5, 11 / 24, 4),
    ]
    for row, wanted in zip(table.rows, expected, strict=True):
        assert row[0] == wanted[0] and row[4] == wanted[4]
        assert (
            row[1:4] == (None, None, 0.5) if row[0] == "accuracy" else row[1:4] == pytest.approx(wanted[1:4])
        )


def test_a_ready_classification_report(logger: ExperimentLogger, logged: Logged) -> None:
    scores = {"precision": 0.5, "recall": 0.25, "f1-score": 0.3, "support": 8.0}
    logger.log_classification_report({"spam": scores, "accuracy": 0.25, "macro avg": scores})
    (table,) = logged(logger)
    assert isinstance(table, Table)
    assert table.rows == (
        ("spam", 0.5, 0.25, 0.3, 8.0),
        ("accuracy", None, None, 0.25, 8.0),
        ("macro avg", 0.5, 0.25, 0.3, 8.0),
    )
    with pytest.raises(TrackError, match="must be a mapping, not str"):
        logger.log_classification_report("precision recall")
    with pytest.raises(TrackError, match="2 true labels and 1 predictions"):
        logger.log_classification_report([1, 2], [1])


def test_configurations_and_input_data(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_config_object("model", "d_model: 64\napi_key: abcdef123456\n")
    logger.log_config_object("training", {"lr": 0.1})
    logger.log_dataset("dates", "1.2.1", "stepwise", {"num_train": 1000})
    assert logged(logger) == [
        Configuration("model", "d_model: 64\napi_key: ***\n"),
        Configuration("training", '{\n  "lr": 0.1\n}'),
        Parameters({"dataset": {"name": "dates", "version": "1.2.1"}}),
        InputDataset("dates", "1.2.1", "stepwise", {"num_train": 1000}),
    ]


def test_a_model_says_how_it_is_built_and_whether_it_is_published(
    logger: ExperimentLogger, logged: Logged, tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    logger.log_model("m", tmp_path / "w.safetensors", config={"d": 64}, labels={"cat": 0}, publish=True)
    logger.log_model("n", tmp_path / "w.safetensors", "onnx", ["small"], {"size": 7})
    first, second = logged(logger)
    assert isinstance(first, Artifact) and isinstance(second, Artifact) and first.role == "model"
    assert first.metadata == {
        "framework": "pytorch",
        "tags": [],
        "config": {"d": 64},
        "labels": {"cat": 0},
        "publish": True,
    }
    assert second.metadata == {"framework": "onnx", "tags": ["small"], "size": 7}
