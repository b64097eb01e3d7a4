"""The parameters of a request: JSON body, query string and form, merged."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from stepwise_server.errors import ApiError

NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?([eE][+-]?\d{1,2})?", re.ASCII)


def read_parameters(body: bytes, request: Request, *, lines: bool) -> tuple[dict[str, Any], list[bytes]]:
    """Return the parameters, and the undecoded lines of a batch.

    The body is JSON whatever its `Content-Type` says, and may come with any method.

    Args:
        body: the request's body.
        request: for its query string and headers.
        lines: whether the endpoint takes a batch.

    Raises:
        ApiError: 400/12 if the body is no JSON object; 400/1 if it is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise ApiError(400, 1, "Compressed requests are not supported")
    params = _nested(request.query_params.multi_items())
    if lines:
        return params, [line for line in body.split(b"\n") if line.strip()]
    if not body.strip():
        return params, []
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = body.decode("utf-8", "replace")
        return {**params, **_nested(parse_qsl(text, keep_blank_values=True))}, []
    decoded = _decoded(body)
    if decoded is not None and not isinstance(decoded, dict):
        raise ApiError(400, 12, "Validation error (the body is no JSON object)")
    return {**params, **(decoded or {})}, []


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ApiError(400, 12, f"Validation error (the body is no valid JSON: {error})") from None


def _nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the values of a query string or form: numbers and booleans recognised, dotted keys nested.

    Repeated keys, and keys that end with `[]`, become lists.
    """
    collected: dict[str, list[Any]] = {}
    for key, value in pairs:
        collected.setdefault(key, []).append(_plain(value))
    found: dict[str, Any] = {}
    for key, values in collected.items():
        *parents, last = key.removesuffix("[]").split(".")
        place = found
        for parent in parents[:20]:
            inner = place.setdefault(parent, {})
            place = inner if isinstance(inner, dict) else place
        place[last] = values if len(values) > 1 or key.endswith("[]") else values[0]
    return found


def _plain(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not NUMBER.fullmatch(text):
        return text
    return float(text) if any(each in text for each in ".eE") else int(text)
