"""The data folder: where it is, which server has it, and how that one is reached."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stepwise_server.auth.secrets import write_private
from stepwise_server.errors import ServerError

LOCK = "server.lock"
RUNNING = "server.json"

WAIT_S = 0.5
"""How long the lock is tried for."""


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        pid: of its process.
        url: how clients reach it.
        host: address that it listens at.
        port: port that it listens at.
        folder: its data folder.
        version: of stepwise-server.
        started: time, ISO.
    """

    pid: int
    url: str
    host: str
    port: int
    folder: str
    version: str
    started: str


def default_folder() -> Path:
    """Return $STEPWISE_SERVER_DIR, or the place for a user's data: ~/.local/share/stepwise/server."""
    named = os.environ.get("STEPWISE_SERVER_DIR")
    if named:
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "stepwise" / "server"


def make(folder: Path) -> None:
    """Make a data folder, for the owner alone, unless it is there.

    Raises:
        ServerError: if that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        message = f"the data folder {folder} cannot be made: {error.strerror}"
        raise ServerError(message, hint="choose another with --folder") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have the folder for oneself; the lock ends with the process, however that ends.

    Raises:
        ServerError: if a server, or a command such as restore, has it.
    """
    give_up = time.monotonic() + WAIT_S
    while (descriptor := _take(folder)) is None:
        if time.monotonic() > give_up:
            server = read_running(folder)
            who = f"the server with pid {server.pid} at {server.url}" if server else "another command"
            hint = f"stepwise server stop --folder {folder}" if server else "wait until it is done"
            raise ServerError(f"the data folder {folder} is in use by {who}", hint=hint)
        time.sleep(0.02)  # somebody may only be looking whether the lock is held
    try:
        yield
    finally:
        os.close(descriptor)


def _take(folder: Path) -> int | None:
    """Return a descriptor that holds the lock until it is closed; None if another has it.

    Raises:
        ServerError: if the folder cannot be written.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        message = f"the data folder {folder} cannot be written: {error.strerror}"
        raise ServerError(message, hint="choose another with --folder") from None
    try:
        _lock(descriptor)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def find_running(folder: Path) -> Running | None:
    """Return the server that has this folder, or None."""
    if not (folder / LOCK).exists():
        return None
    descriptor = _take(folder)
    if descriptor is None:
        return read_running(folder)
    os.close(descriptor)
    return None


def require_running(folder: Path) -> Running:
    """Return the server that has this folder.

    Raises:
        ServerError: if none has (exit code 4).
    """
    server = find_running(folder)
    if server is None:
        message = f"no server runs on {folder}"
        raise ServerError(message, hint=f"stepwise server start --folder {folder}", exit_code=4)
    return server


def announce(folder: Path, server: Running) -> None:
    """Write down how the server is reached."""
    write_private(folder / RUNNING, json.dumps(asdict(server), indent=2).encode())


def read_running(folder: Path) -> Running | None:
    """Return the server that last wrote down how it is reached; it may be gone."""
    try:
        return Running(**json.loads((folder / RUNNING).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
