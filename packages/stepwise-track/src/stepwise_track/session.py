"""One process's turn at a run: opens the journal, writes first and last event, never stops a training.

What is wrong at the start (no permission, run in use) is an error, because nothing is lost yet. After that a
disk that refuses costs events, not the run: they are counted, reported once, recorded as soon as the disk
takes them again, and summed up at the end.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loguru import logger as log

from stepwise_track import limits
from stepwise_track.backends import Wanted
from stepwise_track.environment import write_environment
from stepwise_track.errors import TrackError, cannot_write
from stepwise_track.events import FINAL_STATUSES, Event, EventsLost, RunFinished, RunResumed, RunStarted
from stepwise_track.journal import JournalWriter
from stepwise_track.relay import RelayKeeper


class RunSession:
    """Writes the events of one process into a run folder.

    Args:
        run_dir: the run folder.
        started: the first event of a new run.
        resumed: given to continue a run that is there.
        with_code: whether `environment.json` holds the git commit and diff.
        wanted: the backends besides the journal, with their options; a relay feeds them.

    Attributes:
        lost_events: how many events could not be written.

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
        wanted: Wanted | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.lost_events = self._unreported = 0
        self._losing = threading.Lock()
        self._finished = False
        try:
            self._journal = JournalWriter(run_dir / "journal")
            self._begin(started, resumed, wanted)
        except OSError as error:
            raise cannot_write(run_dir, error) from None
        environment_file = run_dir / "environment.json"
        if resumed and environment_file.exists():
            environment_file = run_dir / f"environment-resumed-{resumed.step:08}.json"
        self._environment = threading.Thread(
            target=write_environment, args=(environment_file, with_code), name="environment", daemon=True
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
                self._journal.append(started)
            if resumed:
                self._journal.append(resumed)
            self._relay = RelayKeeper(self.run_dir, wanted) if wanted else None
        except BaseException:
            self._journal.close()
            raise

    def append(self, event: Event) -> None:
        """Write one event; one that cannot be written is counted.

        Raises:
            TrackError: after `finish`.
        """
        if self._finished:
            raise TrackError(
                f"the run {self.run_dir.name} is finished: {event.kind} comes too late",
                hint="log before finish(), or inside the `with` block",
            )
        with self.surviving_full_disk():
            if self._unreported:
                self._report_lost()
            self._journal.append(event)

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
        if self._finished:
            return
        self.append(RunFinished(status))
        self._finished = True
        with self.surviving_full_disk():
            self._journal.close()
        self._environment.join(limits.ENVIRONMENT_WAIT_S)
        if self._relay:
            self._relay.finish(self._journal.last_seq, wait_s)
        if self.lost_events:
            log.warning("{} events of {} were lost: {}", self.lost_events, self.run_dir, self._reason)
