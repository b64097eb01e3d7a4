"""From an HTTP request to an endpoint, and from its answer to the envelope that clients read."""

import re
import sqlite3
import uuid
from typing import Any
from urllib.parse import quote

import msgspec
from loguru import logger as log
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from stepwise_server import limits, monitoring
from stepwise_server.api import registry
from stepwise_server.api.call import Call, Reply
from stepwise_server.api.parameters import read_parameters
from stepwise_server.auth.authenticate import COOKIE
from stepwise_server.auth.browser import check_cookie_call
from stepwise_server.auth.identity import Identity
from stepwise_server.errors import ApiError, ServerError
from stepwise_server.services import Services
from stepwise_server.store.database import Transaction

PATH = re.compile(
    r"^/(?:v(?P<major>\d{1,4})(?:\.(?P<minor>\d{1,4}))?/)?(?P<name>[A-Za-z_]\w+\.[A-Za-z_]\w+)/?$"
)


async def answer(request: Request, path: str) -> Response:
    """Answer an API request.

    Args:
        request: the request; its app's `state.services` is the server.
        path: the path below the API's prefix, from its `/` on.
    """
    services: Services = request.app.state.services
    meta = Meta(request, path)
    try:
        reply = await _perform(request, path, services, meta)
    except ApiError as error:
        return meta.failure(error)
    except ClientDisconnect:
        return meta.failure(ApiError(400, 0, "The client went away"))
    except ServerError as error:
        return meta.failure(ApiError(400, 12, f"Validation error ({error})"))
    except (OverflowError, UnicodeError, RecursionError, sqlite3.IntegrityError) as error:
        return meta.failure(ApiError(400, 12, f"Validation error ({type(error).__name__}: {error})"))
    except Exception:
        log.exception("{} failed (request {})", meta.name, meta.id)
        return meta.failure(ApiError(500, 0, "General error: the server's log has more", request=meta.id))
    reply = reply if isinstance(reply, Reply) else Reply(reply)
    request.scope[monitoring.EVENTS] = reply.data.get("added", 0) if meta.name.startswith("events.add") else 0
    return _respond(reply, meta)


async def _perform(request: Request, path: str, services: Services, meta: "Meta") -> Any:
    match = PATH.match(path)
    if not match:
        raise ApiError(400, 0, f"Invalid request path {path[:200]}")
    major, minor = match["major"], match["minor"]
    version = (int(major), int(minor or 0)) if major else (999, 0)
    meta.name = match["name"]
    meta.requested = f"{version[0]}.{version[1]}" if major else registry.API_VERSION
    endpoint = registry.find(meta.name, version)
    if endpoint is None:
        raise ApiError(404, 0, f"Unable to find endpoint for name {meta.name} and version {meta.requested}")
    meta.actual = f"{endpoint.version[0]}.{endpoint.version[1]}"
    request.scope[monitoring.ENDPOINT] = meta.name
    identity = await run_in_threadpool(_caller, request, services, endpoint)
    params, batch = read_parameters(await _body(request), request, lines=endpoint.batch)
    call = Call(
        endpoint=meta.name,
        params=params,
        services=services,
        identity=identity,
        batch=batch,
        version=version,
        headers=dict(request.headers),
        cookies=request.cookies,
        address=request.client.host if request.client else "",
    )

    if meta.name == "tasks.get_all":
        services.heartbeats.observe(params)
    if endpoint.prepare is not None:
        call.prepared = await run_in_threadpool(endpoint.prepare, call)

    def work(tx: Transaction) -> Any:
        return endpoint.handler(tx, call)

    if endpoint.writes:
        return await services.database.write_async(work)
    return await run_in_threadpool(services.database.read, work)


def _caller(request: Request, services: Services, endpoint: registry.Endpoint) -> Identity | None:
    """Return who calls, if that is allowed; None for an unrecognised caller of a public endpoint.

    Raises:
        ApiError: 401 or 403.
    """
    address = request.client.host if request.client else ""
    try:
        identity = services.authenticator.identify(request.headers, request.cookies, address)
    except ApiError:
        if endpoint.role is None:
            return None
        raise
    if identity is not None:
        check_cookie_call(request.method, request.headers, services.settings, writes=endpoint.writes)
    if endpoint.role is not None:
        if identity is None:
            raise ApiError(401, 20, "Unauthorized (missing credentials)")
        if not identity.may(endpoint.role):
            raise ApiError(403, 20, "Forbidden (role not allowed)", role=identity.role)
    return identity


async def _body(request: Request) -> bytes:
    """Return the body, also of a GET request: clients send their parameters so."""
    if int(request.headers.get("content-length") or 0) > limits.BODY_BYTES:
        raise ApiError(400, 12, "The request is too large", limit=limits.BODY_BYTES)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.BODY_BYTES:
            raise ApiError(400, 12, "The request is too large", limit=limits.BODY_BYTES)
    return bytes(body)


class Meta:
    """The `meta` of an answer. Every member is always sent, with the types that clients check."""

    def __init__(self, request: Request, path: str) -> None:
        self.id = request.scope.get(monitoring.REQUEST_ID) or uuid.uuid4().hex
        headers = request.headers
        self.trx = headers.get("x-clearml-trx") or headers.get("x-trains-trx") or self.id
        self.name, self.requested, self.actual = path.strip("/")[:200], registry.API_VERSION, "1.0"

    def envelope(
        self, data: Any, code: int = 200, subcode: int = 0, message: str = "OK", **error: Any
    ) -> bytes:
        """Return the JSON of an answer."""
        meta = {
            "id": self.id,
            "trx": self.trx,
            "endpoint": {
                "name": self.name,
                "requested_version": self.requested,
                "actual_version": self.actual,
            },
            "result_code": code,
            "result_subcode": subcode,
            "result_msg": message,
            "error_stack": None,
            "error_data": error,
        }
        return msgspec.json.encode({"meta": meta, "data": data}, enc_hook=str)

    def failure(self, error: ApiError) -> Response:
        """Return the answer to a call that failed."""
        message = str(error).encode("utf-8", "replace").decode()
        data = {key: str(value).encode("utf-8", "replace").decode() for key, value in error.data.items()}
        body = self.envelope({}, error.code, error.subcode, message, **data)
        return Response(body, status_code=error.code, media_type="application/json")


def _respond(reply: Reply, meta: Meta) -> Response:
    """Return the HTTP response for an endpoint's answer."""
    response: Response
    if reply.body is not None:
        response = StreamingResponse(reply.body, media_type=reply.media_type)
        response.headers["Content-Disposition"] = _attachment(reply.filename)
        response.headers["Cache-Control"] = "no-store"
        return response
    response = Response(meta.envelope(reply.data), media_type="application/json")
    if reply.token:
        age = limits.TOKEN_SECONDS_MAX
        response.set_cookie(COOKIE, reply.token, max_age=age, httponly=True, samesite="lax")
    elif reply.token == "":
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


def _attachment(filename: str) -> str:
    """Return the header that names a download, in the form of RFC 5987 if the name is not plain."""
    if re.fullmatch(r"[\w.-]+", filename, re.ASCII):
        return f'attachment; filename="{filename}"'
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
