"""One process's turn at a run: opens the journal, writes first and last event, never stops a training.

What is wrong at the start (no permission, run in use) is an error, because nothing is lost yet. After that a
disk that refuses costs events, not the run: they are counted, reported once, recorded as soon as the disk
takes them again, and summed up at the end.
"""

import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loguru import logger as log

from stepwise_track import limits
from stepwise_track.backends import Wanted
from stepwise_track.cost import CallCost
from stepwise_track.environment import write_environment
from stepwise_track.errors import TrackError, cannot_write
from stepwise_track.events import (
    FINAL_STATUSES,
    Event,
    EventsLost,
    RunFinished,
    RunResumed,
    RunStarted,
    Scalars,
    SingleValues,
)
from stepwise_track.journal import JournalWriter
from stepwise_track.relay import Cursor, RelayKeeper
from stepwise_track.secrets import redact_event
from stepwise_track.values import Number


class RunSession:
    """Writes the events of one process into a run folder.

    Args:
        run_dir: the run folder.
        started: the first event of a new run.
        resumed: given to continue a run that is there.
        with_code: whether `environment.json` holds the git commit and diff.
        entry_point: how to start the program again; by default as this process was started.
        wanted: the backends besides the journal, with their options; a relay feeds them.
        durable: whether every event is on the disk before its call returns.

    Attributes:
        lost_events: how many events could not be written.
        silent: whether nothing is logged here: in a fork of the process, whose events its parent's journal
            cannot take.
        before_finish: what is to be done before the last event.
        cost: what the calls took.

    Raises:
        TrackError: if the folder cannot be written or is in use, or holds a run and `resumed` is not given.
    """

    def __init__(
        self,
        run_dir: Path,
        started: RunStarted,
        resumed: RunResumed | None,
        *,
        with_code: bool,
        entry_point: str | None = None,
        wanted: Wanted | None = None,
        durable: bool = False,
    ) -> None:
        self.run_dir = run_dir
        self.lost_events = self._unreported = 0
        self.silent = False
        self._warned_of_fork = mmap.mmap(
            -1, 1
        )  # shared with all forks: DataLoaders make new ones every epoch
        self.before_finish: list[Callable[[], None]] = []
        self.cost = CallCost()
        self._losing = threading.Lock()
        self._finished = False
        try:
            self._journal = JournalWriter(run_dir / "journal", durable=durable)
            self._begin(started, resumed, wanted)
        except OSError as error:
            raise cannot_write(run_dir, error) from None
        # Steps of the clock while the run goes on must not show in what is drawn over its seconds.
        self._origin = time.monotonic() - max(0.0, time.time() - self._journal.begun)
        _open_sessions.add(self)
        environment_file = run_dir / "environment.json"
        if resumed and environment_file.exists():
            environment_file = run_dir / f"environment-resumed-{resumed.step:08}.json"
        self._environment = threading.Thread(
            target=write_environment,
            args=(environment_file, with_code, entry_point),
            name="environment",
            daemon=True,
        )
        self._environment.start()

    def _begin(self, started: RunStarted, resumed: RunResumed | None, wanted: Wanted | None) -> None:
        """Write the first events of this process, start the relay; let go of the journal if that fails."""
        try:
            if self._journal.recovered:
                log.warning("cut off {}", self._journal.recovered)
            if self._journal.last_seq and not resumed:
                raise TrackError(
                    f"{self.run_dir} holds a run already",
                    hint=f"continue it: stepwise resume {self.run_dir}; or choose another folder",
                )
            if not self._journal.last_seq:
                self._journal.append(redact_event(started))
            if resumed:
                self._journal.append(resumed)
            self._relay = RelayKeeper(self.run_dir, wanted, self._report_delivery) if wanted else None
        except BaseException:
            self._journal.close()
            raise

    @property
    def seconds(self) -> float:
        """Seconds since the run began, pauses between its attempts included."""
        return time.monotonic() - self._origin

    def append(self, event: Event, begun: float | None = None) -> None:
        """Write the event of one log call, and count what the call took.

        Args:
            event: what was logged.
            begun: `time.perf_counter()` at the begin of the call; by default now.

        Raises:
            TrackError: after `finish`.
        """
        begun = time.perf_counter() if begun is None else begun
        self.record(event)
        self.cost.add(time.perf_counter() - begun)

    def record(self, event: Event) -> None:
        """Write one event, without secrets; one that cannot be written is counted.

        Raises:
            TrackError: after `finish`.
        """
        if self.silent:
            self._warn_of_fork()
            return
        if self._finished:
            raise TrackError(
                f"the run {self.run_dir.name} is finished: {event.kind} comes too late",
                hint="log before finish(), or inside the `with` block",
            )
        event = redact_event(event)
        with self.surviving_full_disk():
            if self._unreported:
                self._report_lost()
            self._journal.append(event)

    def _warn_of_fork(self) -> None:
        if not self._warned_of_fork[0]:
            self._warned_of_fork[0] = 1
            log.warning(
                "process {} is a fork of the one that logs the run {}: what it logs is left out",
                os.getpid(),
                self.run_dir.name,
            )

    @contextmanager
    def surviving_full_disk(self) -> Iterator[None]:
        """Count an event as lost, instead of raising, if the operating system refuses to write it."""
        try:
            yield
        except OSError as error:
            with self._losing:
                self.lost_events += 1
                self._unreported += 1
                self._reason = error.strerror or str(error)
                first = self.lost_events == 1
            if first:
                log.warning("cannot log to {}: {}; the run goes on without", self.run_dir, self._reason)

    def _report_lost(self) -> None:
        """Say in the journal how many events are missing here."""
        with self._losing:
            if self._unreported:
                self._journal.append(EventsLost(self._unreported, self._reason))
                self._unreported = 0

    def _report_delivery(self, cursors: dict[str, Cursor]) -> None:
        """Log how far behind each backend is: it is part of what logging costs."""
        values: dict[str, Number] = {}
        for name, cursor in cursors.items():
            values[f"stepwise/{name}_lag_seconds"] = cursor.lag_s
            values[f"stepwise/{name}_pending"] = self._journal.last_seq - cursor.delivered
            values[f"stepwise/{name}_busy_seconds"] = cursor.busy_s
        self.record(Scalars(values, None, axis="seconds", seconds=self.seconds))

    def finish(self, status: str, wait_s: float = limits.FINISH_WAIT_S) -> None:
        """Write the last event, close the journal, give the relay a moment. A second call does nothing.

        Args:
            status: how the run ended.
            wait_s: how long to wait for the relay, in seconds.

        Raises:
            TrackError: if the status is none of `completed`, `failed`, `stopped`.
        """
        if status not in FINAL_STATUSES:
            raise TrackError(f"a run cannot finish as {status!r}", hint=f"one of {', '.join(FINAL_STATUSES)}")
        if self._finished or self.silent:
            return
        for prepare in self.before_finish:
            prepare()
        if self._relay:
            self._relay.be_quiet()
        if self.cost.calls:
            self.record(SingleValues(self.cost.summary()))
        self.record(RunFinished(status))
        self._finished = True
        with self.surviving_full_disk():
            self._journal.close()
        self._environment.join(limits.ENVIRONMENT_WAIT_S)
        if self._relay:
            self._relay.finish(self._journal.last_seq, wait_s)
        if self.lost_events:
            log.warning("{} events of {} were lost: {}", self.lost_events, self.run_dir, self._reason)


_open_sessions: weakref.WeakSet[RunSession] = weakref.WeakSet()


def _silence_in_fork() -> None:
    for session in _open_sessions:
        session.silent = True


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_silence_in_fork)
