"""The run's side of the relay: starts it, starts it again, says once what is wrong, waits a bounded time at the end.

All of it on a daemon thread: the training thread never waits, and no exit hangs.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from loguru import logger as log

from stepwise_track import limits
from stepwise_track.backends import Wanted
from stepwise_track.relay.cursor import CANNOT_GO_ON, FOLDER, GAVE_UP, Cursor, cursor_path, retry_delay
from stepwise_track.relay.supervisor import GAVE_UP_FOR_NOW, relay_command, save_wanted

PYTHON_FAILED = 1
"""Exit code of a Python program that an exception ended."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")
"""What torchrun sets: an SDK in the relay must not take itself for one of several trainers."""


class RelayKeeper:
    """Keeps the relay of a run alive while the run is.

    Args:
        run_dir: the run folder.
        wanted: its backends, with their options.
        report: called now and then with how far each backend has come.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(
        self, run_dir: Path, wanted: Wanted, report: Callable[[dict[str, Cursor]], None] = lambda _: None
    ) -> None:
        self.run_dir, self.names = run_dir.resolve(), list(wanted)
        self._report = report
        self._reporting = threading.Lock()
        self._quiet = False
        self._crashes = self._reports = 0
        self._pid = os.getpid()
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._reported: dict[str, str] = {}
        save_wanted(self.run_dir, wanted)
        threading.Thread(target=self._keep, name="relay-keeper", daemon=True).start()

    def cursors(self) -> dict[str, Cursor]:
        """Return how far each backend has come."""
        return {name: Cursor.load(cursor_path(self.run_dir, name)) for name in self.names}

    def be_quiet(self) -> None:
        """Report no more: the run is about to end. One report alone gets a second: a curve needs two points."""
        with self._reporting:
            if self._reports == 1:
                self._report(self.cursors())
            self._quiet = True

    def finish(self, last_seq: int, wait_s: float) -> None:
        """Wait until everything has arrived, but not longer than told; then say what is pending.

        Args:
            last_seq: number of the last record of the run.
            wait_s: seconds to wait at most.
        """
        if os.getpid() != self._pid:  # a fork: the run is its parent's
            return
        deadline = time.monotonic() + wait_s
        while True:
            pending = {name: one for name, one in self.cursors().items() if not _is_done(one, last_seq)}
            if all(one.health in GAVE_UP for one in pending.values()) or time.monotonic() >= deadline:
                break
            time.sleep(min(limits.POLL_S, max(0.0, deadline - time.monotonic())))
        self._over.set()
        for name, cursor in pending.items():
            log.warning("{}: {}", name, self._what_is_pending(cursor, last_seq))

    def _what_is_pending(self, cursor: Cursor, last_seq: int) -> str:
        count = last_seq - cursor.delivered
        what = f"{count} of {last_seq} events" if count else "the end"
        why = f"{cursor.health}: {cursor.error}" if cursor.error else cursor.health
        background = "" if cursor.health in GAVE_UP else "the relay tries on in the background; "
        return (
            f"{what} of {self.run_dir.name} pending ({why}); {background}"
            f"to deliver now: stepwise sync {self.run_dir}"
        )

    def _keep(self) -> None:
        """Start the relay, and again whenever it has died, until the run is over."""
        due = time.monotonic() + limits.RELAY_METRICS_S
        while not self._over.is_set():
            try:
                self._look_after()
                self._report_problems()
                if time.monotonic() >= due:
                    due += limits.RELAY_METRICS_S
                    with self._reporting:
                        if not self._quiet:
                            self._report(self.cursors())
                            self._reports += 1
            except (
                Exception
            ) as error:  # a full disk, too many processes: it may pass, and no training suffers
                self._say("relay", f"the relay of {self.run_dir.name} cannot work: {error}; the run goes on")
            self._over.wait(limits.RELAY_CHECK_S)

    def _look_after(self) -> None:
        """Start the relay if there is none, or if it ended without saying that it is done."""
        code = self._process.poll() if self._process else GAVE_UP_FOR_NOW
        if code in (None, 0, CANNOT_GO_ON):
            return
        if code == PYTHON_FAILED:  # it will fail again: killed ones start at once, this one ever later
            self._crashes += 1
            self._say("relay", f"the relay fails: see {self.run_dir / FOLDER / 'relay.log'}. The run goes on")
            if self._over.wait(retry_delay(self._crashes)):
                return
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start the relay in a session of its own, where no Ctrl-C of ours reaches it."""
        environment = {key: value for key, value in os.environ.items() if key not in RANK_VARIABLES}
        with (self.run_dir / FOLDER / "relay.log").open("ab") as output:
            return subprocess.Popen(
                relay_command(self.run_dir),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def _report_problems(self) -> None:
        """Say in one line, once, that a backend does not get anything."""
        for name, cursor in self.cursors().items():
            if cursor.health in GAVE_UP:
                self._say(name, f"{name} is {cursor.health}: {cursor.error}. The run goes on without it")
            elif cursor.failures:
                self._say(
                    name, f"{name} is {cursor.health}: {cursor.error}. The run goes on; it is tried again"
                )
            else:
                self._reported.pop(name, None)

    def _say(self, name: str, message: str) -> None:
        if self._reported.get(name) is None:
            self._reported[name] = message
            log.warning("{}", message)


def _is_done(cursor: Cursor, last_seq: int) -> bool:
    return cursor.delivered >= last_seq and cursor.finished is not None
