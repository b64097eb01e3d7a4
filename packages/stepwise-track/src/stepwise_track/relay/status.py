"""How the delivery of a run goes, read from its folder: nothing needs to run for it."""

import time
from dataclasses import dataclass
from pathlib import Path

from stepwise_track.errors import TrackError
from stepwise_track.relay.cursor import FOLDER, Cursor, cursor_path
from stepwise_track.relay.supervisor import load_wanted
from stepwise_track.relay.tail import JournalTail, last_record_number


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """How far one backend has come with a run.

    Attributes:
        name: the backend.
        health: as in `Cursor`: `new`, `ok`, `unreachable`, `failing`, `rejected`, `missing`, `damaged`.
        delivered: number of the last record that the tracker has.
        last_seq: number of the last record of the journal.
        lag_s: age of the oldest record that is pending; if none is, the lag of the last batch, in seconds.
        busy_s: seconds that the backend has worked.
        error: the last error, in one line; empty if the last try went well.
        failures: failed tries in a row.
        next_retry: when the next try is due (Unix seconds), or None.
        finished: what the tracker was told about the end of the run, or None.
        degraded: what arrived in a lesser form or not at all, as counts by `kind: how`.
        fidelity: what this tracker cannot hold in general, by kind of event.
    """

    name: str
    health: str
    delivered: int
    last_seq: int
    lag_s: float
    busy_s: float
    error: str
    failures: int
    next_retry: float | None
    finished: str | None
    degraded: dict[str, int]
    fidelity: dict[str, str]

    @property
    def pending(self) -> int:
        """How many records the tracker has not got yet."""
        return self.last_seq - self.delivered


def backends_of(run_dir: Path) -> list[str]:
    """Return the backends of a run: those it was given, and those it was ever sent to."""
    sent = (path.stem for path in sorted((run_dir / FOLDER).glob("*.json")))
    return [*dict.fromkeys([*load_wanted(run_dir), *(name for name in sent if name not in RESERVED)])]


RESERVED = ("relay", "backends")
"""JSON files in the relay's folder that are no cursors."""


def status(run_dir: Path | str) -> list[BackendStatus]:
    """Return how far each backend of a run has come.

    Args:
        run_dir: the run folder.

    Raises:
        TrackError: if a pending part of the journal is damaged.
    """
    run_dir = Path(run_dir)
    last_seq = last_record_number(run_dir / "journal")
    return [_status_of(run_dir, name, last_seq) for name in backends_of(run_dir)]


def _status_of(run_dir: Path, name: str, last_seq: int) -> BackendStatus:
    cursor = Cursor.load(cursor_path(run_dir, name))
    return BackendStatus(
        name=name,
        health=cursor.health,
        delivered=cursor.delivered,
        last_seq=last_seq,
        lag_s=_lag(run_dir, cursor, last_seq),
        busy_s=cursor.busy_s,
        error=cursor.error,
        failures=cursor.failures,
        next_retry=cursor.next_retry,
        finished=cursor.finished,
        degraded=cursor.degraded,
        fidelity=cursor.fidelity,
    )


def _lag(run_dir: Path, cursor: Cursor, last_seq: int) -> float:
    """Return the age of the oldest pending record, or the lag of the last batch."""
    if cursor.delivered >= last_seq:
        return cursor.lag_s
    try:
        oldest = JournalTail(run_dir / "journal", cursor.delivered).read(1)
    except TrackError:  # a damaged journal is told elsewhere; here it only means that the age is not known
        oldest = []
    return max(0.0, time.time() - oldest[0].time) if oldest else 0.0
