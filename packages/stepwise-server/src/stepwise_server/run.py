"""Runs the server in this process until it is told to stop."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from stepwise_server import limits
from stepwise_server.app import create_app
from stepwise_server.errors import ServerError
from stepwise_server.installation import open_services
from stepwise_server.services import Services, Settings


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        ServerError: if the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "another port: --port 0 takes a free one"
        raise ServerError(f"cannot listen at {host} port {port}: {reason}", hint=hint) from None
    return listener


def serve(
    settings: Settings, listener: socket.socket, ready: Callable[[Services], None] | None = None
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: of the server.
        listener: from `listen`.
        ready: called when the installation is open, before the first request is answered.
    """
    with open_services(settings) as services:
        config = uvicorn.Config(
            create_app(services),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=limits.STOP_SECONDS,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn raises the signal again once it has ended; with these it comes back here instead of killing
        # the process before everything is closed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if ready:
            ready(services)
        server.run(sockets=[listener])
