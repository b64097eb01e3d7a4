"""Calls to a ClearML server through the SDK's own session, and what its failures mean for the relay."""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import requests
from clearml.backend_api import Session
from clearml.backend_api.session.defs import MissingConfigError
from clearml.backend_api.session.session import LoginError

from stepwise_track import limits
from stepwise_track.backends.protocol import Rejected, Unreachable

VERSION = "2.23"
"""Schema of the API that is spoken; every server since 1.6 knows it."""

RETRIES = {
    "total": 1,
    "connect": 1,
    "read": 1,
    "redirect": 2,
    "status": 1,
    "backoff_factor": 0.1,
    "backoff_max": 1,
}
"""The SDK would retry for hours by itself. The relay retries better: it tells the user, and other backends go on."""


class CallError(Exception):
    """The server refused a call. `code` and `subcode` are those of its answer."""

    def __init__(self, endpoint: str, code: int, subcode: int, message: str) -> None:
        super().__init__(f"{endpoint}: {message} ({code}/{subcode})")
        self.code, self.subcode = code, subcode


class Connection:
    """An authenticated session with the server of the user's ClearML configuration.

    Raises:
        Unreachable: if the server does not answer.
        Rejected: if there are no credentials, or it refuses them.
    """

    def __init__(self) -> None:
        host = str(Session.get_api_server_host())
        _require_answer(host)
        try:
            self._session = Session(http_retries_config=dict(RETRIES))
        except MissingConfigError:
            raise Rejected(
                "no ClearML credentials found: set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY, or clearml-init"
            ) from None
        except (LoginError, ValueError) as error:
            _require_answer(host)
            raise Rejected(f"{host} refuses the ClearML credentials: {error}") from None
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{host}: {error}") from None
        self.web_host = str(Session.get_app_server_host())
        self.files_host = str(Session.get_files_server_host())

    def call(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """Call `service.action` and return its `data`.

        Raises:
            CallError: if the server refuses the call.
            Unreachable: if it does not answer, or says that it cannot now.
            Rejected: if it does not accept the credentials any more.
        """
        service, action = endpoint.split(".")
        return self._send(
            endpoint, lambda: [self._session.send_request(service, action, VERSION, json=params)]
        )

    def report(self, events: Sequence[dict[str, Any]]) -> None:
        """Send events in as many requests as the server's limit on their size asks for.

        Raises:
            CallError: if the server refuses one of them.
            Unreachable: see `call`. What was sent before stays sent.
            Rejected: see `call`.
        """
        for batch in _batches(events):
            answer = self._send(
                "events.add_batch",
                lambda batch=batch: self._session.send_request_batch(
                    "events", "add_batch", VERSION, json=batch, method="post"
                ),
            )
            if answer.get("errors"):
                raise CallError("events.add_batch", 400, 131, str(answer.get("errors_info")))

    def _send(self, endpoint: str, send: Any) -> dict[str, Any]:
        """Send one request and judge the answer."""
        try:
            response = send()[0]
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{endpoint}: {error}") from None
        except LoginError as error:
            _require_answer(self._session.host)
            raise Rejected(f"the ClearML server does not accept the credentials any more: {error}") from None
        if response.status_code in (429, 500, 502, 503, 504):
            raise Unreachable(f"{endpoint}: the server answers {response.status_code}")
        try:
            answer = json.loads(response.content)
            meta, data = answer["meta"], answer["data"]
        except (ValueError, KeyError, TypeError):
            raise Unreachable(
                f"{endpoint}: an answer that is no ClearML's ({response.status_code})"
            ) from None
        if meta["result_code"] in (401, 403):
            raise Rejected(f"{endpoint}: {meta['result_msg']}")
        if meta["result_code"] != 200:
            raise CallError(
                endpoint, meta["result_code"], meta.get("result_subcode") or 0, meta["result_msg"]
            )
        found: dict[str, Any] = data
        return found

    @property
    def token(self) -> str:
        """A valid token, for the file server."""
        return str(self._session.token)


def _batches(events: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Cut events into requests below the limit of the official server."""
    batch: list[dict[str, Any]] = []
    size = 0
    for event in events:
        length = 300 + len(event.get("plot_str", "")) + len(event.get("msg", ""))
        if batch and size + length > limits.CLEARML_REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch


def _require_answer(host: str) -> None:
    """Ask for any answer within a bounded time: the SDK itself would wait for an absent server without end."""
    try:
        urlopen(f"{host.rstrip('/')}/debug.ping", timeout=limits.CLEARML_PROBE_S).close()
    except HTTPError as error:
        if error.code >= 500:
            raise Unreachable(f"{host} answers {error.code}") from None
    except (URLError, OSError, ValueError) as error:
        raise Unreachable(f"no answer from {host}: {getattr(error, 'reason', error)}") from None
