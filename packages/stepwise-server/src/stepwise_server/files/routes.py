"""/files: upload, download, delete."""

import errno
from typing import Any

import msgspec
from loguru import logger as log
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stepwise_server.auth.browser import check_cookie_call, check_host
from stepwise_server.auth.identity import Identity
from stepwise_server.errors import ApiError, invalid
from stepwise_server.files import download, names, upload
from stepwise_server.routing import REST
from stepwise_server.services import Services

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the operating system says when there is no room for a file."""


async def _root(request: Request) -> Response:
    if request.method in ("GET", "HEAD"):
        return PlainTextResponse("OK")
    return await _answer(request, "")


async def _file(request: Request) -> Response:
    # The raw path: the decoded one has lost which `/` were `%2F`, and bytes that are no UTF-8.
    raw = request.scope.get("raw_path", request.scope["path"].encode()).partition(b"?")[0]
    return await _answer(request, raw.removeprefix(b"/files/").decode("latin-1"))


async def _answer(request: Request, path: str) -> Response:
    """Answer a request for the path below /files/, percent-encoded as it was sent."""
    services: Services = request.app.state.services
    try:
        identity = await run_in_threadpool(_caller, request, services)
        if request.method in ("GET", "HEAD"):
            file = await run_in_threadpool(services.files.open, names.from_url_path(path))
            return download.respond(request, file) if file else _missing(path)
        assert identity is not None  # `_caller` has seen to it
        if request.method == "DELETE":
            name = names.from_url_path(path)
            gone = await run_in_threadpool(services.files.delete, name)
            return JSONResponse(name) if gone else _missing(path)
        if path == "delete_many":
            return await _delete_many(request, services)
        if path:
            raise ApiError(405, 0, "Files are uploaded to /files, with their path as the form field's name")
        if request.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise ApiError(415, 0, "Compressed uploads are not supported")
        kind = request.headers.get("content-type", "")
        return JSONResponse(await upload.receive(request.stream(), kind, services.files, identity.user))
    except ApiError as error:
        return PlainTextResponse(str(error), error.code)
    except ClientDisconnect:
        return PlainTextResponse("the client went away", 400)
    except OSError as error:
        if error.errno in FULL:
            return PlainTextResponse("The server's disk is full: the file was not kept", 500)
        log.exception("{} {} failed", request.method, request.url.path)
        return PlainTextResponse("General error: the server's log has more", 500)


def _caller(request: Request, services: Services) -> Identity | None:
    """Return who asks, if that is allowed; None for anybody where reads are open.

    Raises:
        ApiError: 401 or 403.
    """
    reads = request.method in ("GET", "HEAD")
    if reads and services.settings.open_reads:
        check_host(request.headers, services.settings)
        return None
    address = request.client.host if request.client else ""
    identity = services.authenticator.identify(request.headers, request.cookies, address)
    if identity is None:
        raise ApiError(401, 20, "Unauthorized (missing credentials)")
    check_cookie_call(request.method, request.headers, services.settings, writes=not reads)
    if not reads and not identity.may("user"):
        raise ApiError(403, 20, "Forbidden (role not allowed)", role=identity.role)
    return identity


def _missing(path: str) -> Response:
    return PlainTextResponse(f"There is no file {path[:500]}", 404)


async def _delete_many(request: Request, services: Services) -> Response:
    """Delete files, and folders with all that is in them."""
    try:
        wanted = msgspec.json.decode(await request.body(), type=dict[str, Any]).get("files")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body is no JSON object: {error}") from None
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise invalid("files is no list of paths")
    deleted: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    for each in wanted:
        try:
            name = names.from_url_path(each.removeprefix("/files/"))
            gone = await run_in_threadpool(services.files.delete, name, folders=True)
            if not gone:
                raise ApiError(404, 0, "Not found")
            deleted[each] = name
        except (ApiError, UnicodeError) as error:
            errors.setdefault(str(error).split(":")[0], []).append(each)
    return JSONResponse({"deleted": deleted, "errors": errors})


ROUTES = [
    Route("/files", _root, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
    Route("/files/", _root, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
    Route(f"/files/{{path:{REST}}}", _file, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
]
