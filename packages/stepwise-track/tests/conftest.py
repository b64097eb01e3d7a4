"""What the tests of the logger share: open loggers, and what their journals hold."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loguru import logger as log
from relay_tools import Tracker

from stepwise_track import ExperimentLogger, JournalReader
from stepwise_track.events import Event


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[ExperimentLogger]:
    """An open logger in `tmp_path / "run"`."""
    with ExperimentLogger("tests", run_dir=tmp_path / "run", log_code=False) as one:
        yield one


@pytest.fixture
def logged() -> Callable[[ExperimentLogger], list[Event]]:
    """Read back what a logger wrote, without the event of its start."""
    return lambda logger: [record.event for record in JournalReader(logger.run_dir / "journal")][1:]


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Collect the messages of the log."""
    messages: list[str] = []
    handler = log.add(lambda message: messages.append(message.record["message"]), level="WARNING")
    yield messages
    log.remove(handler)


@pytest.fixture
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """A tracker of a third party, not started yet; its backends `recorder` and `second` are installed for this test."""
    info = tmp_path / "plugins" / "recorder-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recorder\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[stepwise_track.backends]\n"
        "recorder = recording_backend:Recorder\n"
        "second = recording_backend:SecondRecorder\n"
        "incomplete = module_that_is_not_there:Backend\n"
    )
    folders = [str(info.parent), str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(folders[0])
    return Tracker(tmp_path / "server")
