"""How far a backend has come: one small JSON file per backend, written whole or not at all.

`relay/<backend>.json` in the run folder. Everything that must agree is in one file and one write: which
records the tracker has, what the backend wants to remember about it, and how it goes.
"""

import json
import os
import random
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from stepwise_track import limits
from stepwise_track.backends.protocol import Delivery
from stepwise_track.events import ProcessId, RunFinished, RunResumed, RunStarted
from stepwise_track.secrets import redact

FOLDER = "relay"
"""Folder below the run folder with everything of the relay."""

GAVE_UP = ("rejected", "missing", "damaged")
"""States in which nothing is tried until a person asks."""

CANNOT_GO_ON = 3
"""Exit code, of a worker and of the relay, where a new start would change nothing."""


def retry_delay(failures: int) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    delay: float = min(limits.RETRY_MAX_S, limits.RETRY_FIRST_S * 2 ** min(failures - 1, 30))
    return delay * random.uniform(0.75, 1.25)


@dataclass
class Cursor:
    """The position of a backend in the journal, and its health.

    Attributes:
        journal_id: the journal that the numbers belong to.
        delivered: every record up to this one has reached the tracker.
        attempted: last record of the batch under way; equals `delivered` when none is.
        attempt: how many `run_resumed` are among the delivered records.
        ended: how the run ended, at this position; None while it runs.
        writer: process that wrote the run, at this position.
        finished: what the tracker was told about the end; None while the run is open there.
        opened: whether the backend ever opened the run.
        state: what the backend wants to keep.
        health: `new`, `ok`, `unreachable`, `failing` (crashed, hung or raised), `rejected`, `missing` (not
            installed) or `damaged` (the journal).
        error: the last error, in one line.
        failures: failed tries in a row.
        next_retry: when the next try is due (Unix seconds), or None.
        batches: batches delivered.
        busy_s: seconds spent within the backend.
        lag_s: age of the oldest record of the last batch when it had arrived, or when it last failed, in seconds.
        degraded: how often a value was degraded or left out, by `kind: how`.
        fidelity: what the backend says it cannot hold, by kind of event.
    """

    journal_id: str = ""
    delivered: int = 0
    attempted: int = 0
    attempt: int = 0
    ended: str | None = None
    writer: dict[str, Any] | None = None
    finished: str | None = None
    opened: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    health: str = "new"
    error: str = ""
    failures: int = 0
    next_retry: float | None = None
    batches: int = 0
    busy_s: float = 0.0
    lag_s: float = 0.0
    degraded: dict[str, int] = field(default_factory=dict)
    fidelity: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a cursor; a new one if there is no file. Fields of a newer version are left out."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def save(self, path: Path) -> None:
        """Write the cursor durably: after a power failure it is the old one or the new one.

        Raises:
            OSError: if it cannot be written.
        """
        write_json(path, asdict(self))

    def advance(self, batch: list[Delivery], seconds: float) -> None:
        """Note that a batch has arrived.

        Args:
            batch: its records.
            seconds: how long the backend took.
        """
        for delivery in batch:
            event = delivery.event
            if isinstance(event, (RunStarted, RunResumed)):
                self.ended, self.writer = None, asdict(event.process)
            elif isinstance(event, RunFinished):
                self.ended = event.status
        self.delivered = self.attempted = batch[-1].seq
        self.attempt = batch[-1].attempt
        self.finished = None
        self.batches += 1
        self.busy_s += seconds
        self.lag_s = max(0.0, time.time() - batch[0].time)  # a clock may have been set back
        self.succeed()

    def succeed(self) -> None:
        """Note that the tracker answers."""
        self.health, self.error, self.failures, self.next_retry = "ok", "", 0, None

    def fail(self, health: str, error: object, retry_in: float | None) -> None:
        """Note a failed try.

        Args:
            health: the new state.
            error: what went wrong; kept as one line, without secrets.
            retry_in: seconds until the next try; None if there is none.
        """
        self.health = health
        self.error = redact(" ".join(str(error).split())[:500]) or type(error).__name__
        self.failures += 1
        self.next_retry = None if retry_in is None else time.time() + retry_in

    @property
    def process(self) -> ProcessId | None:
        """The process that wrote the delivered part of the run."""
        return None if self.writer is None else ProcessId(**self.writer)


def cursor_path(run_dir: Path, backend: str) -> Path:
    """Return where the cursor of a backend is."""
    return run_dir / FOLDER / f"{backend}.json"


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file durably, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
