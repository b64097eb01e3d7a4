"""A ClearML server as its clients see it: calls, and files up and down."""

import http.client
import json
import shutil
import uuid
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from stepwise_server import limits
from stepwise_server.errors import ServerError


class RemoteError(ServerError):
    """A server answered with an error. `code` and `subcode` are those of its envelope."""

    def __init__(self, message: str, code: int, subcode: int) -> None:
        super().__init__(message, exit_code=5 if code in (401, 403) else 1)
        self.code, self.subcode = code, subcode


class Remote:
    """One server.

    Args:
        api: URL of its API, such as `http://127.0.0.1:8008/api`.
        files: URL of its file server, as the URLs of its artifacts begin.
        access_key: of the account to use.
        secret_key: of that key.

    Raises:
        ServerError: if it cannot be reached (exit code 4) or refuses the key (5).
    """

    def __init__(self, api: str, files: str, access_key: str, secret_key: str) -> None:
        self.api_url, self.files_url = api.rstrip("/"), files.rstrip("/")
        self._key = f"{access_key}:{secret_key}"
        self._token = ""
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self._login()

    def call(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """Call an endpoint and return its `data`.

        Raises:
            RemoteError: if it answers with an error.
        """
        return self._call(endpoint, json.dumps(params).encode())

    def report(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Send events as one batch."""
        return self._call("events.add_batch", "\n".join(map(json.dumps, events)).encode())

    def _call(self, endpoint: str, body: bytes) -> dict[str, Any]:
        for attempt in (1, 2):
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            status, text = self._request("POST", f"{self.api_url}/v2.23/{endpoint}", body, headers)
            if status != 401 or attempt == 2:
                break
            self._login()  # the token has expired during a long export
        try:
            answer = json.loads(text)
            meta, data = answer["meta"], answer["data"]
        except (ValueError, KeyError, TypeError):
            raise RemoteError(
                f"{self.api_url} answers {status} to {endpoint}, not in JSON", status, 0
            ) from None
        if meta["result_code"] != 200:
            message = f"{self.api_url} refuses {endpoint}: {meta['result_msg']}"
            raise RemoteError(message, meta["result_code"], meta.get("result_subcode") or 0)
        found: dict[str, Any] = data
        return found

    def _login(self) -> None:
        headers = {"Authorization": f"Basic {b64encode(self._key.encode()).decode()}"}
        status, text = self._request("GET", f"{self.api_url}/auth.login", b"{}", headers)
        try:
            self._token = json.loads(text)["data"]["token"]
        except (ValueError, KeyError, TypeError):
            raise ServerError(
                f"{self.api_url} does not accept the access key (status {status})",
                hint="create one in its web page: Settings, Workspace, Create new credentials",
                exit_code=5,
            ) from None

    def owns(self, url: str) -> bool:
        """Tell whether a file is on this server."""
        return url.startswith(self.files_url + "/")

    def path(self, url: str) -> str:
        """Return the stored name of one of this server's files."""
        return unquote(url[len(self.files_url) + 1 :].partition("?")[0])

    def download(self, url: str, target: Path) -> bool:
        """Fetch one of this server's files; return False if it is not there."""
        connection = self._connection(url)
        parts = urlsplit(url)
        connection.request("GET", parts.path or "/", headers={"Authorization": f"Bearer {self._token}"})
        response = connection.getresponse()
        if response.status != 200:
            response.read()
            return False
        with target.open("wb") as file:
            shutil.copyfileobj(response, file, limits.COPY_BYTES)
        return True

    def upload(self, path: str, source: Path) -> str:
        """Store a file under a name, and return its URL."""
        boundary = uuid.uuid4().hex
        name = path.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="/{name}"; filename="/{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        connection = self._connection(self.files_url)
        connection.putrequest("POST", urlsplit(self.files_url).path or "/")
        connection.putheader("Authorization", f"Bearer {self._token}")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        connection.putheader("Content-Length", str(len(head) + source.stat().st_size + len(tail)))
        connection.endheaders()
        connection.send(head)
        with source.open("rb") as file:
            while chunk := file.read(limits.COPY_BYTES):
                connection.send(chunk)
        connection.send(tail)
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RemoteError(
                f"{self.files_url} refuses {path}: {response.status} {text[:200]!r}", response.status, 0
            )
        return f"{self.files_url}/{quote(path)}"

    def _request(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send one request, once more if the kept connection was closed meanwhile."""
        parts = urlsplit(url)
        for attempt in (1, 2):
            connection = self._connection(url)
            try:
                connection.request(method, parts.path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if attempt == 2 or not isinstance(error, http.client.RemoteDisconnected | BrokenPipeError):
                    raise ServerError(f"cannot reach {self.api_url}: {error}", exit_code=4) from None
        raise AssertionError

    def _connection(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        if parts.netloc not in self._connections:
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connections[parts.netloc] = kind(parts.netloc, timeout=limits.REMOTE_SECONDS)
        return self._connections[parts.netloc]


def guess_files(api: str) -> str:
    """Return the file server that belongs to an API: as ClearML lays them out, by port, host name or path."""
    parts = urlsplit(api)
    if parts.path.rstrip("/").endswith("/api"):
        return api.rstrip("/")[: -len("api")] + "files"
    if parts.port == 8008:
        return f"{parts.scheme}://{parts.hostname}:8081"
    return f"{parts.scheme}://{parts.netloc.replace('api.', 'files.', 1)}"
