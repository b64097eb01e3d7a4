"""Delivers what is pending of a run now, in the foreground, to any tracker."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from filelock import BaseFileLock, Timeout

from stepwise_track import limits
from stepwise_track.backends import wanted_backends
from stepwise_track.errors import TrackError, cannot_write
from stepwise_track.relay.cursor import FOLDER
from stepwise_track.relay.status import BackendStatus, backends_of, status
from stepwise_track.relay.supervisor import load_wanted, relay_lock, save_wanted, supervise


def sync(
    run_dir: Path | str,
    backends: Sequence[str] | Mapping[str, Mapping[str, Any] | None] | None = None,
    progress: Callable[[list[BackendStatus]], None] | None = None,
) -> list[BackendStatus]:
    """Deliver what the journal of a run has now, also to a tracker that never saw it; no retries.

    A relay that is at work is asked to step aside; a living run starts it again afterwards. Nothing arrives
    twice, however often this is called.

    Args:
        run_dir: any run folder, also an old one or a copy.
        backends: names, or options by name; by default those that the run has.
        progress: called with the status of these backends whenever it changes.

    Returns:
        How far each of them has come: with `pending` 0, or `health` and `error` that say why not.

    Raises:
        TrackError: if there is nothing to sync, no such backend, or another sync of this run at work.
    """
    run_dir = Path(run_dir).resolve()
    if not (run_dir / "journal").is_dir():
        raise TrackError(f"{run_dir} holds no journal", hint="name a run: stepwise runs list")
    configured = load_wanted(run_dir)
    wanted = {} if backends is None else wanted_backends(backends)
    names = backends_of(run_dir) if backends is None else list(wanted)
    if not names and backends is not None:  # `local`: it has everything
        return []
    if not names:
        raise TrackError(
            f"{run_dir.name} has no backend to sync with", hint=f"stepwise sync {run_dir} --to clearml"
        )
    try:
        (run_dir / FOLDER).mkdir(exist_ok=True)
        lock = _take_over(run_dir)
        try:
            save_wanted(run_dir, configured | wanted)
            shown: list[BackendStatus] = []

            def show() -> None:
                now = [one for one in status(run_dir) if one.name in names]
                if progress and now != shown:
                    shown[:] = now
                    progress(now)

            supervise(run_dir, names, threading.Event(), once=True, on_tick=show)
        finally:
            lock.release()
    except OSError as error:
        raise cannot_write(run_dir / FOLDER, error) from None
    return [one for one in status(run_dir) if one.name in names]


def _take_over(run_dir: Path) -> BaseFileLock:
    """Take the relay's lock, from the relay if it has it."""
    lock = relay_lock(run_dir)
    deadline = time.monotonic() + 2 * limits.WORKER_EXIT_S
    while True:
        try:
            lock.acquire()
            return lock
        except Timeout:
            if time.monotonic() > deadline:
                raise TrackError(
                    f"{run_dir.name} is being synced already", hint=f"stepwise track status {run_dir}"
                ) from None
        _ask_to_stop(run_dir)
        time.sleep(limits.POLL_S)


def _ask_to_stop(run_dir: Path) -> None:
    """Send the relay of a run the signal to end after the batches under way."""
    try:
        process = psutil.Process(
            json.loads((run_dir / FOLDER / "relay.json").read_text(encoding="utf-8"))["pid"]
        )
        if {"stepwise_track.relay", str(run_dir)} <= set(process.cmdline()):  # no other got its number
            process.terminate()
    except (FileNotFoundError, psutil.Error):
        return
