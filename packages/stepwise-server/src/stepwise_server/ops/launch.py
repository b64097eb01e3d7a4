"""Starts a server: in this process, detached from it, for good, or until a CI job has ended."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stepwise_server import __version__, clock, limits
from stepwise_server.errors import ServerError
from stepwise_server.ops import clients
from stepwise_server.ops.folder import Running, announce, make, read_running
from stepwise_server.services import LOOPBACK, Settings

LOG = "server.log"


@dataclass(frozen=True)
class Launch:
    """How a server is to be started.

    Attributes:
        folder: the data folder.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        url: how clients reach it, such as a proxy's address; by default host and port.
        open_reads: whether files may be read without a token.
        log_requests: whether every request is logged.
        log_json: whether the log is JSON.
        log_file: where the log goes; None means standard error.
        remove_folder: whether the folder is removed at the end.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8008
    url: str | None = None
    open_reads: bool = False
    log_requests: bool = False
    log_json: bool = False
    log_file: Path | None = None
    remove_folder: bool = False


def ephemeral(launch: Launch) -> Launch:
    """Return the same launch on a temporary folder, which is removed at the end."""
    return replace(launch, folder=Path(tempfile.mkdtemp(prefix="stepwise-server-")), remove_folder=True)


def warnings(launch: Launch) -> list[str]:
    """Return what the person who starts it should know."""
    if launch.host in LOOPBACK:
        return []
    lines = [
        f"listening at {launch.host}: other machines can reach this server, over HTTP without encryption"
    ]
    if launch.open_reads:
        lines.append("--open-reads: anybody who can reach it may read all files")
    return lines


def run(launch: Launch, ready: Callable[[Running], None]) -> None:
    """Serve in this process until SIGTERM or Ctrl-C.

    Args:
        launch: how.
        ready: told when clients can connect.

    Raises:
        ServerError: if the folder is in use or the port is taken.
    """
    from stepwise_server import logs
    from stepwise_server.run import listen, serve
    from stepwise_server.services import Services

    folder = launch.folder.absolute()
    make(folder)
    try:
        with listen(launch.host, launch.port) as listener:
            logs.configure(launch.log_file, as_json=launch.log_json)
            settings = _settings(launch, folder, listener)

            def announce_it(_: Services) -> None:
                server = _running(settings)
                clients.write_files(folder, settings.url)
                announce(folder, server)
                ready(server)

            serve(settings, listener, announce_it)
    finally:
        if launch.remove_folder:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(launch: Launch, folder: Path, listener: socket.socket) -> Settings:
    port: int = listener.getsockname()[1]
    name = launch.host
    if name in ("0.0.0.0", "::", ""):
        name = socket.gethostname()
    url = launch.url or (f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}")
    return Settings(
        folder,
        host=launch.host,
        port=port,
        url=url.rstrip("/"),
        open_reads=launch.open_reads,
        log_requests=launch.log_requests,
    )


def _running(settings: Settings) -> Running:
    folder = str(settings.folder)
    return Running(os.getpid(), settings.url, settings.host, settings.port, folder, __version__, clock.now())


def detach(launch: Launch) -> Running:
    """Start a server as a process of its own and wait until it answers; its log is in the data folder.

    Raises:
        ServerError: if it ends before it answers, or does not within `limits.START_SECONDS`.
    """
    folder = launch.folder.absolute()
    make(folder)
    launch = replace(launch, folder=folder, log_file=launch.log_file or folder / LOG)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stepwise_server", *_arguments(launch)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        give_up = time.monotonic() + limits.START_SECONDS
        while time.monotonic() < give_up:
            if process.poll() is not None:
                output.seek(0)
                raise _explained(output.read().decode("utf-8", "replace").strip(), process.returncode)
            server = read_running(folder)
            if server is not None and server.pid == process.pid and healthy(server):
                process.returncode = 0  # it is to outlive us: nobody waits for it
                return server
            time.sleep(0.02)
    process.terminate()
    process.wait()
    message = f"the server did not answer within {limits.START_SECONDS:.0f} seconds"
    raise ServerError(message, hint=f"read {launch.log_file}")


def _arguments(launch: Launch) -> list[str]:
    """Return the arguments of `python -m stepwise_server` for the same launch."""
    found = [str(launch.folder), str(launch.port), "--host", launch.host, "--log-file", str(launch.log_file)]
    found += ["--url", launch.url] if launch.url else []
    switches = {
        "--open-reads": launch.open_reads,
        "--log-requests": launch.log_requests,
        "--log-json": launch.log_json,
        "--remove-folder": launch.remove_folder,
    }
    return found + [name for name, on in switches.items() if on]


def _explained(output: str, code: int) -> ServerError:
    """Return why a detached server ended: what it wrote before."""
    message, found, hint = output.rpartition("\nnext: ")
    if found:
        return ServerError(message.rpartition("error: ")[2], hint=hint, exit_code=code)
    last = output.splitlines()[-1] if output else "it wrote nothing"
    return ServerError(f"the server ended with code {code}: {last}", hint="start it without --detach")


def healthy(server: Running) -> bool:
    """Tell whether a server answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)
    connection = http.client.HTTPConnection(host, server.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
