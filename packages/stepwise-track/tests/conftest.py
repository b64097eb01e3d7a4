"""What the tests of the logger share: open loggers, and what their journals hold."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loguru import logger as log

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
