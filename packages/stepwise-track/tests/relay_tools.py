"""What the tests of the relay share: a tracker of their own, and a way to see what it got."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepwise_track import ExperimentLogger
from stepwise_track.relay.tail import JournalTail

WAIT_S = 60.0
"""How long a test waits for what must happen at some time: far above what it takes."""


def open_logger(run_dir: Path, backends: dict[str, dict[str, str]], **options: Any) -> ExperimentLogger:
    """Open a logger which waits long at its end, and logs nothing by itself: events are to be counted."""
    quiet: dict[str, Any] = {"capture_console": False, "system_metrics": False, "log_code": False}
    return ExperimentLogger(
        "p", run_dir=run_dir, backends=backends, **({"finish_wait_s": WAIT_S} | quiet | options)
    )


class Tracker:
    """The recording backend's server, from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = {"server": str(folder)}

    def start(self) -> "Tracker":
        self.folder.mkdir(exist_ok=True)
        return self

    def behave(self, **mode: object) -> None:
        part = self.folder / "mode.part"
        part.write_text(json.dumps(mode))
        part.replace(self.folder / "mode")

    def lines(self, name: str = "received.txt") -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def numbers(self, journal_id: str | None = None) -> list[int]:
        """Return the numbers of the received events, in the order of arrival."""
        ids = [line.split()[0].rpartition("-") for line in self.lines()]
        return [int(seq) for journal, _, seq in ids if journal_id in (None, journal)]

    def finished(self) -> list[str]:
        return [line.split()[1] for line in self.lines("calls.txt") if line.startswith("finish")]

    def assert_exactly_once(self, run_dir: Path, without: frozenset[str] = frozenset()) -> None:
        """Every event of the journal arrived, in order, once."""
        tail, records = JournalTail(run_dir / "journal"), []
        while more := tail.read(10**6):
            records += more
        received = self.numbers(tail.journal_id)
        assert not [seq for seq, count in Counter(received).items() if count > 1]
        assert received == [record.seq for record in records if record.event.kind not in without]


def eventually(happens: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not happens():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
