"""A server whose every answer is parsed as the SDK would parse it."""

import json
import re

import sdk_schema

from stepwise_server.testing import LocalServer


class CheckedServer(LocalServer):
    """A server whose answers are checked against the SDK's response classes on their way to the test."""

    def request(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> tuple[int, bytes]:
        status, answer = super().request(path, body, headers, method)
        endpoint = re.fullmatch(r"(?:/api)?/(?:v[\d.]+/)?(\w+\.\w+)/?(?:\?.*)?", path)
        if endpoint and answer[:8] == b'{"meta":':
            sdk_schema.check(endpoint[1], json.loads(answer))
        return status, answer
