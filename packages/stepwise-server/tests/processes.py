"""Servers as processes of their own, for tests of what happens to those."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from stepwise_server.installation import client_credentials
from stepwise_server.ops.folder import Running, read_running
from stepwise_server.ops.launch import healthy


class ServerProcess:
    """`python -m stepwise_server FOLDER 0`; a context manager that ends it.

    Args:
        folder: its data folder.
        *arguments: further ones.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._command = [sys.executable, "-m", "stepwise_server", str(folder), "0", *arguments]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up and self.process.poll() is None:
            running = read_running(self.folder)
            if running and running.pid == self.process.pid and healthy(running):
                self.running: Running = running
                return self
            time.sleep(0.01)
        self.process.kill()
        raise AssertionError(self.process.communicate()[0])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.output = self.process.communicate(timeout=20)[0]

    def token(self) -> str:
        """Return a token of the generated key."""
        pair = base64.b64encode(":".join(client_credentials(self.folder)).encode()).decode()
        token: str = self.call("auth.login", {}, {"Authorization": f"Basic {pair}"})["token"]
        return token

    def call(self, endpoint: str, params: Any, headers: dict[str, str]) -> Any:
        """Call an endpoint and return its data, or the answer's meta if it failed."""
        body = json.dumps(params).encode()
        try:
            with urlopen(Request(f"{self.running.url}/api/{endpoint}", body, headers), timeout=20) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            return json.load(error)["meta"]
