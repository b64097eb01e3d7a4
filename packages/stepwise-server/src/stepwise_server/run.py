"""Runs the server in this process until it is told to stop."""

import socket
from collections.abc import Callable

import uvicorn

from stepwise_server.app import create_app
from stepwise_server.installation import open_services
from stepwise_server.services import Services, Settings


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: if the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def serve(
    settings: Settings, listener: socket.socket, ready: Callable[[Services], None] | None = None
) -> uvicorn.Server:
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
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        if ready:
            ready(services)
        server.run(sockets=[listener])
    return server
