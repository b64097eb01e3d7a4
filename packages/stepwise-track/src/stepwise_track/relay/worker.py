"""Delivers one run to one tracker. A process of its own, so that an SDK may block or crash without harm to others.

Standard input and output connect it to the relay. Output: one line whenever it is at work, with the seconds
until the next one is due; what the SDK prints goes to standard error. Input: nothing; its end means that the
relay wants it to stop, or has died.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from loguru import logger as log

from stepwise_track import limits
from stepwise_track.backends import load_backend
from stepwise_track.backends.protocol import (
    Backend,
    Delivery,
    Rejected,
    RunContext,
    Unreachable,
    Unrepresentable,
)
from stepwise_track.errors import TrackError
from stepwise_track.events import FileRef, RunFinished, RunResumed, RunStarted
from stepwise_track.journal import Record
from stepwise_track.process import is_alive
from stepwise_track.relay.cursor import CANNOT_GO_ON, FOLDER, Cursor, cursor_path, retry_delay
from stepwise_track.relay.tail import JournalTail, is_locked, last_record_number


class Stopped(Exception):
    """The relay asked for the end, or is gone."""


class Worker:
    """Takes one backend through a run: open, deliver batch after batch, finish, close.

    Args:
        run_dir: the run folder.
        name: the backend.
        options: what the user gave for it.
        once: deliver what is there and end, also where the run goes on; no retries.
        stop: set when the relay wants it to end.
        report: called with the seconds until the next sign of life.
    """

    def __init__(
        self,
        run_dir: Path,
        name: str,
        options: dict[str, object],
        *,
        once: bool,
        stop: threading.Event,
        report: Callable[[float], None],
    ) -> None:
        self.run_dir, self.name, self.options, self.once = run_dir, name, options, once
        self._stop, self._report = stop, report
        self._path = cursor_path(run_dir, name)
        self._cursor = Cursor()
        self._backend: Backend | None = None
        self._begun_until = 0
        self._oldest_time = time.time()

    def run(self) -> int:
        """Deliver until nothing is left to do; return the exit code."""
        lock = FileLock(self.run_dir / FOLDER / f"{self.name}.lock", timeout=0)
        try:
            while True:
                try:
                    lock.acquire()
                    break
                except Timeout:  # an earlier worker, whose relay died, is still about to end
                    self._pause(limits.POLL_S)
            self._cursor = Cursor.load(self._path)
            return self._deliver_run()
        except Stopped:
            return 0
        finally:
            self._report(limits.WORKER_STALL_S)
            self._close()
            lock.release()

    def _deliver_run(self) -> int:
        try:
            backend_type = load_backend(self.name)
            self._cursor.fidelity = dict(backend_type.fidelity)
        except TrackError as error:
            return self._give_up("missing", f"{error}; {error.hint}")
        try:
            if self._prepare():
                self._begin(backend_type)
                self._follow()
        except Rejected as error:
            return self._give_up("rejected", error)
        except Unreachable as error:  # only with `once`: else it is tried again
            return self._give_up("unreachable", error)
        except TrackError as error:
            return self._give_up("damaged", error)
        except Stopped:
            raise
        except Exception as error:
            log.exception("{} failed", self.name)
            self._note_failure("failing", f"{type(error).__name__}: {error}")
            return 1
        return 0

    def _give_up(self, health: str, error: object) -> int:
        log.warning("{} is {}: {}", self.name, health, error)
        self._note_failure(health, error)
        return CANNOT_GO_ON

    def _note_failure(self, health: str, error: object) -> None:
        self._cursor.fail(health, error, None)
        with suppress(OSError):  # a full disk may be what failed
            self._cursor.save(self._path)

    def _prepare(self) -> bool:
        """Wait for the first record and find our place; False if there is nothing left to do."""
        first = JournalTail(self.run_dir / "journal")
        while not (records := first.read(1)):
            self._pause(limits.POLL_S)
        started = records[0].event
        if not isinstance(started, RunStarted):
            raise TrackError(f"{first.directory} does not begin with the start of a run")
        cursor = self._cursor
        if cursor.journal_id != first.journal_id:  # new, or another run was in this folder before
            cursor = self._cursor = Cursor(first.journal_id, fidelity=cursor.fidelity)
        if (last := last_record_number(first.directory)) < cursor.delivered:
            raise TrackError(
                f"{first.directory} ends with record {last}, but {self.name} has {cursor.delivered} of it: "
                "it is an older copy"
            )
        self._started = started
        self._tail = JournalTail(first.directory, cursor.delivered)
        pending = JournalTail(first.directory, cursor.delivered).read(1)
        self._oldest_time = pending[0].time if pending else time.time()
        if cursor.finished and not pending:
            cursor.succeed()
            cursor.save(self._path)
            return False
        return True

    def _begin(self, backend_type: type[Backend]) -> None:
        """Open the backend."""
        cursor = self._cursor
        self._context = RunContext(
            run_dir=self.run_dir,
            journal_id=cursor.journal_id,
            started=self._started,
            options=self.options,
            state=cursor.state,
            is_resume=cursor.opened,
            uncertain_until=cursor.attempted if cursor.attempted > cursor.delivered else 0,
            save=lambda: cursor.save(self._path),
            progress=lambda: self._report(limits.WORKER_STALL_S),
        )
        self._persist(lambda: self._open(backend_type))
        cursor.opened = True
        cursor.succeed()
        cursor.save(self._path)

    def _open(self, backend_type: type[Backend]) -> None:
        self._close()
        self._backend = backend_type()
        self._backend.open(self._context)

    def _close(self) -> None:
        backend, self._backend = self._backend, None
        try:
            if backend:
                backend.close()
        except Exception:  # nothing depends on it: what is delivered is delivered
            log.exception("{} could not be closed", self.name)

    def _follow(self) -> None:
        """Deliver what the journal has and gets, until the run is over."""
        batch: list[Delivery] = []
        due = 0.0
        while True:
            ended = self._how_it_ended()  # asked before reading: what is read then is all there is
            self._read_into(batch)
            ending = bool(batch) and isinstance(batch[-1].event, RunFinished)
            full = len(batch) >= limits.BATCH_RECORDS
            if batch and (full or ending or ended or self.once or time.monotonic() >= due):
                due = time.monotonic() + limits.DELIVERY_INTERVAL_S
                self._deliver(batch)
                batch = []
            elif not batch and ended:
                self._finish(ended)
                return
            elif not batch and self.once:
                return
            else:
                self._pause(limits.POLL_S)

    def _read_into(self, batch: list[Delivery]) -> None:
        """Add what the journal has got; a batch that an earlier worker began is taken as it was."""
        cursor = self._cursor
        room = limits.BATCH_RECORDS
        if cursor.attempted > cursor.delivered:
            room = cursor.attempted - cursor.delivered
        attempt = batch[-1].attempt if batch else cursor.attempt
        while len(batch) < room and (records := self._read(room - len(batch), bool(batch))):
            for record in records:
                attempt += isinstance(record.event, RunResumed)
                batch.append(Delivery(cursor.journal_id, record.seq, record.time, record.event, attempt))
            if cursor.attempted <= cursor.delivered:
                break

    def _read(self, limit: int, has_batch: bool) -> list[Record]:
        """Read on; damage waits until what was read before it is delivered."""
        try:
            return self._tail.read(limit)
        except TrackError:
            if has_batch:
                return []
            raise

    def _deliver(self, batch: list[Delivery]) -> None:
        """Bring a batch to the tracker and move the cursor on."""
        begun = time.monotonic()
        self._oldest_time = batch[0].time
        self._tail.sync()
        self._cursor.attempted = batch[-1].seq
        self._cursor.save(self._path)
        upload_s = sum(file.size for one in batch for file in _files(one)) / limits.UPLOAD_BYTES_PER_S
        self._persist(lambda: self._send(batch), limits.WORKER_STALL_S + upload_s)
        for key, count in self._context.degraded.items():
            self._cursor.degraded[key] = self._cursor.degraded.get(key, 0) + count
        self._cursor.advance(batch, time.monotonic() - begun)
        self._cursor.save(self._path)

    def _send(self, batch: list[Delivery]) -> None:
        assert self._backend
        self._context.degraded.clear()
        begun_until, self._begun_until = self._begun_until, batch[-1].seq
        self._context.uncertain_until = max(self._context.uncertain_until, begun_until)
        left_out: dict[int, str] = {}
        while records := [one for one in batch if one.seq not in left_out]:
            try:
                self._backend.deliver(records)
                break
            except Unrepresentable as error:
                kind = next(one.event.kind for one in records if one.seq == error.seq)
                left_out[error.seq] = f"{kind}: left out, {error.reason}"
                self._context.degraded.clear()
                self._context.uncertain_until = batch[-1].seq
        self._backend.flush()
        for key in left_out.values():
            self._context.degraded[key] = self._context.degraded.get(key, 0) + 1

    def _how_it_ended(self) -> str | None:
        """Return how the run ended, as far as it is delivered; None while it goes on."""
        return self._cursor.ended or ("failed" if self._writer_is_gone() else None)

    def _finish(self, status: str) -> None:
        """Tell the tracker how the run ended."""
        backend, cursor = self._backend, self._cursor
        if backend and cursor.finished != status:
            self._persist(lambda: backend.finish(status))
            cursor.finished = status
            cursor.succeed()
            cursor.save(self._path)

    def _writer_is_gone(self) -> bool:
        process = self._cursor.process
        alive = is_alive(process) if process else True
        if alive is None:
            newest = max(path.stat().st_mtime for path in self._tail.directory.glob("*.jsonl"))
            return time.time() - newest > limits.FOREIGN_QUIET_S
        if alive or process is None:
            return False
        # A living process with another start time is another one, or the clock was set: then it has the lock.
        return not (psutil.pid_exists(process.pid) and is_locked(self._tail.directory))

    def _persist(self, call: Callable[[], None], seconds: float | None = None) -> None:
        """Call the backend until the tracker answers.

        Raises:
            Rejected: it refuses us.
            Unreachable: it does not answer, and there is to be no retry.
            Stopped: the relay asked for the end.
        """
        while True:
            if self._stop.is_set():
                raise Stopped
            self._report(seconds or limits.WORKER_STALL_S)
            try:
                call()
                return
            except Unreachable as error:
                if self.once:
                    raise
                delay = retry_delay(self._cursor.failures + 1)
                self._cursor.fail("unreachable", error, delay)
                self._cursor.lag_s = max(0.0, time.time() - self._oldest_time)
                self._cursor.save(self._path)
                log.info("{} does not answer, next try in {:.1f} s: {}", self.name, delay, error)
                self._pause(delay)

    def _pause(self, seconds: float) -> None:
        """Wait, and end if the relay wants us to."""
        self._report(seconds + limits.WORKER_STALL_S)
        if self._stop.wait(seconds):
            raise Stopped


def _files(delivery: Delivery) -> tuple[FileRef, ...]:
    event = delivery.event
    one = getattr(event, "file", None)
    files: tuple[FileRef, ...] = getattr(event, "files", ())
    return (one,) if one else files
