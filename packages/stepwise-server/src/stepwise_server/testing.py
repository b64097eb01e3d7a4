"""A server for tests: real, on a free port of loopback, in a folder of its own.

with LocalServer(tmp_path) as server:
task = server.api("tasks.create", name="a task", type="training")["id"]
subprocess.run([sys.executable, "train.py"], env=server.environment)
"""

import http.client
import json
import os
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any, Self

import uvicorn

from stepwise_server.app import create_app
from stepwise_server.installation import client_credentials, open_services
from stepwise_server.run import listen
from stepwise_server.services import Services, Settings


class ApiFailure(Exception):
    """An API call that was answered with an error.

    Attributes:
        code: `result_code`.
        subcode: `result_subcode`.
        message: `result_msg`.
    """

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(f"{code}/{subcode}: {message}")
        self.code, self.subcode, self.message = code, subcode, message


class LocalServer:
    """A running server; a context manager.

    Args:
        folder: its data folder, kept at the end.
        port: where it listens; 0 takes a free one.
        open_reads: whether files may be read without a token.

    Attributes:
        url: where it listens.
        services: its inside, to look at the database.
    """

    services: Services

    def __init__(self, folder: Path, *, port: int = 0, open_reads: bool = False) -> None:
        self._listener = listen("127.0.0.1", port)
        port = self._listener.getsockname()[1]
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.settings = Settings(folder, port=port, url=self.url, open_reads=open_reads)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stepwise-server", daemon=True)
        self._token: str | None = None

    def _run(self) -> None:
        with open_services(self.settings) as self.services:
            config = uvicorn.Config(
                create_app(self.services), http="httptools", ws="none", lifespan="off", log_config=None
            )
            self._server = uvicorn.Server(config)
            self._ready.set()
            self._server.run(sockets=[self._listener])

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a process that reports to this server."""
        access_key, secret_key = client_credentials(self.settings.folder)
        return {
            **os.environ,
            "CLEARML_API_HOST": f"{self.url}/api",
            "CLEARML_WEB_HOST": self.url,
            "CLEARML_FILES_HOST": f"{self.url}/files",
            "CLEARML_API_ACCESS_KEY": access_key,
            "CLEARML_API_SECRET_KEY": secret_key,
        }

    def request(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> tuple[int, bytes]:
        """Send one HTTP request; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def login(self, user: str, secret: str) -> str:
        """Return a token for a key with its secret, or a user with a password."""
        basic = b64encode(f"{user}:{secret}".encode()).decode()
        token: str = self.call("auth.login", {}, {"Authorization": f"Basic {basic}"})["token"]
        return token

    def api(self, endpoint: str, **params: Any) -> Any:
        """Call an endpoint as the user of the generated key, and return its `data`.

        Raises:
            ApiFailure: if it answers with an error.
        """
        if self._token is None:
            self._token = self.login(*client_credentials(self.settings.folder))
        return self.call(endpoint, params, {"Authorization": f"Bearer {self._token}"})

    def call(self, endpoint: str, body: Any, headers: dict[str, str]) -> Any:
        """Call an endpoint with these headers; a list is sent as lines of JSON."""
        lines = body if isinstance(body, list) else [body]
        text = "\n".join(json.dumps(line) for line in lines).encode()
        _, answer = self.request(f"/api/v2.23/{endpoint}", text, headers)
        decoded = json.loads(answer)
        meta = decoded["meta"]
        if meta["result_code"] != 200:
            raise ApiFailure(meta["result_code"], meta["result_subcode"], meta["result_msg"])
        return decoded["data"]

    def events(self, *events: dict[str, Any]) -> Any:
        """Report events, and return the answer of `events.add_batch`."""
        if self._token is None:
            self._token = self.login(*client_credentials(self.settings.folder))
        return self.call("events.add_batch", list(events), {"Authorization": f"Bearer {self._token}"})
