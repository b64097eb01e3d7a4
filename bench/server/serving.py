"""A server in a process of its own, and calls to it, for the benchmarks."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Client:
    """One kept-alive connection to a server.

    Args:
        port: of the server, on this machine.
        token: from `login`; None to log in with the key of `folder`.
        folder: the server's data folder.
    """

    def __init__(self, port: int, token: str | None = None, folder: Path | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.token = token
        if token is None and folder is not None:
            keys = json.loads((folder / "client.json").read_text())
            basic = b64encode(f"{keys['access_key']}:{keys['secret_key']}".encode()).decode()
            self.token = json.loads(self._send("auth.login", b"", f"Basic {basic}"))["data"]["token"]

    def send(self, endpoint: str, body: bytes) -> bytes:
        """Call an endpoint with a body as it is, and return the whole answer, undecoded."""
        return self._send(endpoint, body, f"Bearer {self.token}")

    def call(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """Call an endpoint and return its data."""
        answer = json.loads(self.send(endpoint, json.dumps(params).encode()))
        if answer["meta"]["result_code"] != 200:
            raise RuntimeError(answer["meta"]["result_msg"])
        data: dict[str, Any] = answer["data"]
        return data

    def _send(self, endpoint: str, body: bytes, authorization: str) -> bytes:
        self._connection.request("POST", f"/v2.23/{endpoint}", body, {"Authorization": authorization})
        return self._connection.getresponse().read()


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Run a server over a data folder, and give its port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "stepwise_server", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        give_up = time.monotonic() + 30
        while True:
            try:
                Client(port).send("debug.ping", b"")
                break
            except OSError:
                if time.monotonic() > give_up or process.poll() is not None:
                    raise
                time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(30)
