"""The relay: keeps one worker process per backend going, and ends when all is delivered.

It reads nothing of the journal itself and calls no SDK, so nothing can block it. A worker that gives no sign of
life is killed; one that crashed is started again after a pause that grows.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from stepwise_track import limits
from stepwise_track.backends import Wanted
from stepwise_track.relay.cursor import CANNOT_GO_ON, FOLDER, Cursor, cursor_path, retry_delay, write_json
from stepwise_track.relay.log import RelayLog
from stepwise_track.relay.tail import last_record_number

GAVE_UP_FOR_NOW = 4
"""Exit code of a relay that made no progress for `limits.LINGER_S`, or was asked to stop."""


def relay_command(run_dir: Path, *arguments: str) -> list[str]:
    """Return the command that starts the relay of a run, or with `--worker NAME` one of its workers.

    `-P` keeps the current folder out of the module search: it is the user's, and may hold a `wandb` of its own.
    """
    return [sys.executable, "-P", "-m", "stepwise_track.relay", str(run_dir), *arguments]


def relay_lock(run_dir: Path) -> FileLock:
    """Return the lock that the one relay of a run holds."""
    return FileLock(run_dir / FOLDER / "relay.lock", timeout=0, thread_local=False)


def save_wanted(run_dir: Path, wanted: Wanted) -> None:
    """Note which backends a run has, with their options.

    Raises:
        OSError: if it cannot be written.
    """
    write_json(run_dir / FOLDER / "backends.json", dict(wanted))


def load_wanted(run_dir: Path) -> Wanted:
    """Return the backends that a run was given, with their options."""
    try:
        wanted: Wanted = json.loads((run_dir / FOLDER / "backends.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return wanted


class WorkerSlot:
    """One backend of a run: its worker process, if it has one now, and what is to become of it.

    Args:
        run_dir: the run folder.
        name: the backend.
        log: takes what the worker prints.
        once: deliver what is there, start no second time.
    """

    def __init__(self, run_dir: Path, name: str, log: RelayLog, *, once: bool) -> None:
        self.run_dir, self.name, self.once = run_dir, name, once
        self._log = log
        self.settled = self.gave_up = False
        self._process: subprocess.Popen[str] | None = None
        self._deadline = self._next_start = 0.0
        self._seen_bytes = -1

    def tick(self) -> None:
        """Look after the worker: start it, or see what became of it."""
        if self._process is None:
            if self.settled and not self._has_new_work():
                return
            if time.monotonic() >= self._next_start:
                self._start()
        elif (code := self._process.poll()) is not None:
            self._process = None
            self._ended(code)
        elif time.monotonic() > self._deadline:
            self._kill()
            self._failed("gave no sign of life and was killed", retry=not self.once)

    def stop(self, deadline: float) -> None:
        """Ask the worker to end after its batch, and see to it that it does by then (`time.monotonic`)."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
            self._kill()

    def _start(self) -> None:
        self.settled = False
        self._deadline = time.monotonic() + limits.WORKER_STALL_S
        arguments = ["--worker", self.name, *(["--once"] if self.once else [])]
        process = self._process = subprocess.Popen(
            relay_command(self.run_dir, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # its SDK may have children: they end with it
            text=True,
            errors="backslashreplace",
        )
        assert process.stderr
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        threading.Thread(target=self._log.follow, args=(self.name, process.stderr), daemon=True).start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Take note of the worker's signs of life: each says how long the next may take."""
        for line in process.stdout or ():
            if process is self._process:
                self._deadline = time.monotonic() + float(line)

    def _ended(self, code: int) -> None:
        """See what the end of a worker means."""
        if code == 0:
            self.settled = True
            return
        if code == CANNOT_GO_ON:
            self.settled = self.gave_up = True
            return
        self._failed(f"ended with code {code}", retry=not self.once)

    def _failed(self, how: str, *, retry: bool) -> None:
        """Note a crash or a hang in the cursor, which nobody writes now, and plan the next start."""
        path = cursor_path(self.run_dir, self.name)
        cursor = Cursor.load(path)
        if cursor.health == "failing" and cursor.next_retry is None:  # the worker could say why
            how, cursor.failures = cursor.error, cursor.failures - 1
        delay = retry_delay(cursor.failures + 1)
        self._next_start = time.monotonic() + delay
        self.settled = self.gave_up = not retry
        self._log.write(f"the worker of {self.name} {how}\n")
        cursor.fail("failing", how, delay if retry else None)
        with suppress(OSError):
            cursor.save(path)

    def _kill(self) -> None:
        """Kill the worker and the children of its SDK."""
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _has_new_work(self) -> bool:
        """Tell whether a resumed run has written more since the worker ended."""
        if self.gave_up:
            return False
        journal = self.run_dir / "journal"
        size = journal_bytes(journal)
        if size == self._seen_bytes:
            return False
        self._seen_bytes = size
        return last_record_number(journal) > Cursor.load(cursor_path(self.run_dir, self.name)).delivered


def journal_bytes(journal: Path) -> int:
    """Return the size of a journal."""
    return sum(path.stat().st_size for path in journal.glob("*.jsonl"))


def supervise(
    run_dir: Path,
    names: Sequence[str],
    stop: threading.Event,
    *,
    once: bool = False,
    on_tick: Callable[[], None] = lambda: None,
) -> int:
    """Keep the workers of some backends going until all have delivered everything, or cannot go on.

    The caller holds `relay_lock`.

    Args:
        run_dir: the run folder.
        names: the backends.
        stop: ends it, after the batches under way.
        once: deliver what is there and end, also where the run goes on.
        on_tick: called a few times a second.

    Returns:
        0 if all is delivered, `CANNOT_GO_ON` if some backend cannot, `GAVE_UP_FOR_NOW` otherwise.
    """
    log = RelayLog(run_dir)
    slots = [WorkerSlot(run_dir, name, log, once=once) for name in names]
    try:
        mark: object = None
        quiet_since = time.monotonic()
        while not stop.is_set():
            for slot in slots:
                slot.tick()
            on_tick()
            if all(slot.settled for slot in slots):
                return CANNOT_GO_ON if any(slot.gave_up for slot in slots) else 0
            now = _progress_mark(run_dir, names)
            if now != mark:
                mark, quiet_since = now, time.monotonic()
            elif time.monotonic() - quiet_since > limits.LINGER_S:
                break
            stop.wait(limits.POLL_S)
        return GAVE_UP_FOR_NOW
    finally:
        deadline = time.monotonic() + limits.WORKER_EXIT_S
        for slot in slots:
            slot.stop(deadline)


def _progress_mark(run_dir: Path, names: Sequence[str]) -> object:
    """Return something that changes whenever the run writes or a tracker takes something."""
    delivered = [Cursor.load(cursor_path(run_dir, name)).delivered for name in names]
    return journal_bytes(run_dir / "journal"), delivered
