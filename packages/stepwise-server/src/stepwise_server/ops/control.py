"""Ends a server that runs, and tells how it is."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from stepwise_server import limits
from stepwise_server.errors import ServerError
from stepwise_server.installation import DATABASE
from stepwise_server.ops.folder import Running, find_running, require_running
from stepwise_server.ops.launch import LOG, healthy


def stop(folder: Path, wait_s: float = limits.STOP_SECONDS + 5.0) -> Running:
    """End the server that has a data folder, once its running requests are answered.

    Args:
        folder: the data folder.
        wait_s: how long that may take.

    Raises:
        ServerError: if none runs (exit code 4), or it has not ended after this time.
    """
    server = require_running(folder)
    try:
        os.kill(server.pid, signal.SIGTERM)
    except ProcessLookupError:
        return server  # it ended just now
    except PermissionError:
        message = f"the server with pid {server.pid} belongs to another user"
        raise ServerError(message, hint=f"as that user: kill {server.pid}") from None
    give_up = time.monotonic() + wait_s
    while (found := find_running(folder)) is not None and found.pid == server.pid:
        if time.monotonic() > give_up:
            message = f"the server with pid {server.pid} has not ended after {wait_s:.0f} seconds"
            raise ServerError(message, hint=f"kill -9 {server.pid}   (nothing that was acknowledged is lost)")
        time.sleep(0.02)
    return server


@dataclass(frozen=True)
class Status:
    """How a data folder is.

    Attributes:
        folder: its path.
        server: what serves it; None if nothing does.
        healthy: whether that answers.
        database_bytes: size of the database, with its log.
        log: the log file of a detached server, "" if there is none.
    """

    folder: str
    server: Running | None
    healthy: bool
    database_bytes: int
    log: str


def status(folder: Path) -> Status:
    """Look at a data folder, and at the server that has it."""
    server = find_running(folder)
    log = folder / LOG
    return Status(
        folder=str(folder.absolute()),
        server=server,
        healthy=server is not None and healthy(server),
        database_bytes=sum(file.stat().st_size for file in folder.glob(f"{DATABASE}*")),
        log=str(log.absolute()) if log.exists() else "",
    )
