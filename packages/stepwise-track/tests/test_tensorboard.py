"""The event files, read back by TensorBoard's own reader: the same values, steps, pictures and attempts."""

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from relay_tools import open_logger

from stepwise_track import ExperimentLogger, limits
from stepwise_track.relay import status, sync
from stepwise_track.relay.cursor import Cursor, cursor_path

pytest.importorskip("tensorboard")


def read_back(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(
        str(folder), size_guidance={kind: 0 for kind in ("scalars", "images", "tensors", "histograms")}
    ).Reload()


def text_of(events: Any, tag: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)]


def write_run(run_dir: Path) -> None:
    with ExperimentLogger("p", "n", {"a": {"b": 1, "c": "x", "d": [1, 2]}}, run_dir=run_dir) as logger:
        for step, loss in [(1, 0.5), (2, math.nan), (3, math.inf), (4, -math.inf), (7, 1e39)]:
            logger.log_training_step(loss=loss, learning_rate=0.25, step=step)
        logger.log_epoch(2, train_loss=0.75)
        logger.log_image("cat", [[0.0, 1.0], [1.0, 0.5]], step=3)
        logger.log_histogram("weights", [1.0, 2.0, 3.0, math.nan], step=4)
        logger.log_text("note", "two words", step=5)
        logger.log_table("Final Metrics", [["bleu", 0.5], ["a|b", math.nan]], ["Metric", "Value"], step=6)
        logger.log_single_value("bleu", 0.5)
        logger.log_single_value("num_examples", 10)
        logger.log_artifact("self", __file__)


def test_what_was_logged_is_read_back(tmp_path: Path) -> None:
    write_run(tmp_path)
    (one,) = sync(tmp_path, ["tensorboard"])
    assert (one.pending, one.health, one.finished) == (0, "ok", "completed"), one.error
    events = read_back(tmp_path / "tensorboard")
    loss = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert loss[0] == (1, 0.5) and math.isnan(loss[1][1])
    assert loss[2:] == [(3, math.inf), (4, -math.inf), (7, math.inf)]
    assert [(event.step, event.value) for event in events.Scalars("train/learning_rate")][-1] == (7, 0.25)
    assert [(event.step, event.value) for event in events.Scalars("epoch/train_loss")] == [(2, 0.75)]

    (picture,) = events.Images("cat")
    png = tmp_path / "pictures" / "cat_00000003.png"
    assert (picture.step, picture.width, picture.height) == (3, 2, 2)
    assert picture.encoded_image_string == png.read_bytes()
    (histogram,) = events.Histograms("weights")
    value = histogram.histogram_value
    assert (histogram.step, value.min, value.max, value.num) == (4, 1.0, 3.0, 3)
    assert value.sum == pytest.approx(6, abs=0.1)

    assert text_of(events, "note") == ["two words"]
    (table,) = text_of(events, "Final Metrics")
    assert table == "| Metric | Value |\n| --- | --- |\n| bleu | 0.5 |\n| a\\|b | nan |"
    assert "| num_examples | 10 |" in text_of(events, "single values")[-1]
    assert Path(__file__).name in text_of(events, "artifacts/self")[0]


def test_what_was_degraded_is_counted(tmp_path: Path) -> None:
    write_run(tmp_path)
    svg = tmp_path / "drawing.svg"
    with ExperimentLogger("p", run_dir=tmp_path, resume_step=7) as logger:
        svg.write_text("<svg/>")
        logger.log_image("drawing", svg)
        logger.log_image("gone", [[0.5]])
        (tmp_path / "pictures" / "gone.png").unlink()
    (one,) = sync(tmp_path, ["tensorboard"])
    assert one.pending == 0
    assert one.degraded == {
        "artifact: as a text with path, size and SHA-256": 1,
        "histogram: without its NaN and infinite values": 1,
        "picture: left out: .svg cannot be shown": 1,
        "picture: left out: the file was replaced or removed before its turn": 1,
        "scalars: beyond single precision: infinite": 1,
        "table: as Markdown text": 2,
    }
    assert {"table", "histogram", "picture", "scalars"} <= one.fidelity.keys()


def test_parameters_and_the_end_are_a_row_of_hparams(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2, metadata

    write_run(tmp_path)
    sync(tmp_path, ["tensorboard"])
    content = read_back(tmp_path / "tensorboard").PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["a.b"].number_value == 1 and start.hparams["a.c"].string_value == "x"
    assert start.hparams["a.d"].string_value == "[1, 2]"
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS


def test_every_attempt_is_a_run_of_its_own(tmp_path: Path) -> None:
    for resume_step, steps in [(None, (1, 2, 3)), (2, (3, 4)), (3, (4,))]:
        with ExperimentLogger(
            "p", run_dir=tmp_path / "run", resume_step=resume_step, config={"x": 1}
        ) as logger:
            for step in steps:
                logger.log_training_step(loss=step / 4, step=step)
        sync(tmp_path / "run", {"tensorboard": {"logdir": str(tmp_path / "logs")}})
    folder = tmp_path / "logs" / "run"
    attempts = [folder, folder / "attempt-2", folder / "attempt-3"]
    curves = [
        [event.step for event in _only_here(attempt, tmp_path).Scalars("train/loss")] for attempt in attempts
    ]
    assert curves == [[1, 2, 3], [3, 4], [4]]


@pytest.mark.slow
def test_a_relay_that_is_killed_again_and_again_leaves_every_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RELAY_CHECK_S", 0.2)
    logger = open_logger(tmp_path, {"tensorboard": {}})
    killed: set[int] = set()
    step = 0
    while len(killed) < 5:
        step += 1
        logger.log_training_step(loss=step / 4, step=step)
        time.sleep(0.001)
        if step % 500 == 0:
            for process in psutil.Process().children(recursive=True):
                process.kill()  # relay and worker, in whatever they are doing
                killed.add(step)
    logger.finish()
    (one,) = status(tmp_path)
    assert (one.pending, one.finished) == (0, "completed")
    points = [
        (event.step, event.value) for event in read_back(tmp_path / "tensorboard").Scalars("train/loss")
    ]
    assert points == [(number, number / 4) for number in range(1, step + 1)]


def _only_here(folder: Path, tmp_path: Path) -> Any:
    """Read the event file of one attempt: given a folder, the reader also takes those below it."""
    (file,) = folder.glob("events.out.tfevents.*")
    return read_back(file)


def test_what_a_crash_left_behind_the_cursor_is_written_again_and_only_once(tmp_path: Path) -> None:
    write_run(tmp_path)
    sync(tmp_path, ["tensorboard"])
    (file,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    whole = file.read_bytes()
    path = cursor_path(tmp_path, "tensorboard")
    for left in (whole[:-7], whole + b"half a record", whole):  # the crash came before the cursor was saved
        path.unlink()
        file.write_bytes(left)
        sync(tmp_path, ["tensorboard"])
        assert file.read_bytes() == whole
    cursor = Cursor.load(path)
    assert cursor.state["sizes"] == {"0": len(whole)}
    assert status(tmp_path)[0].pending == 0


def test_the_module_loads_without_tensorflow_and_quickly_says_what_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from stepwise_track.backends import load_backend\n"
        "load_backend('tensorboard')"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "backend tensorboard cannot be loaded" in result.stderr.splitlines()[-1]
