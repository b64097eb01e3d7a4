"""The web application: one origin for the page, the API and the files.

/api/…                the API; also /v2.x/service.action and /service.action, so that a bare host works
/files/…              uploaded files
/healthz, /metrics    for those who watch over it
/                     the page
"""

import asyncio
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwise_server import limits
from stepwise_server.api import dispatch
from stepwise_server.auth.browser import check_host
from stepwise_server.errors import ApiError
from stepwise_server.files import routes as files
from stepwise_server.monitoring import Monitor
from stepwise_server.routing import REST
from stepwise_server.services import LOOPBACK, Services
from stepwise_server.web import routes as page

ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def _api(request: Request) -> Response:
    return await dispatch.answer(request, "/" + request.path_params["call"])


async def _health(request: Request) -> Response:
    """Answer OK if the database can be read and the writer serves its queue."""
    services: Services = request.app.state.services
    try:
        await run_in_threadpool(services.database.read, lambda tx: tx.value("SELECT 1"))
        await asyncio.wait_for(services.database.write_async(lambda tx: None), limits.HEALTH_SECONDS)
    except Exception as error:
        return PlainTextResponse(f"not healthy: {type(error).__name__}", 503)
    return PlainTextResponse("OK")


async def _metrics(request: Request) -> Response:
    """Answer with all figures; to anybody where only this machine can ask, else to those with a login."""
    services: Services = request.app.state.services
    authenticator = services.authenticator
    try:
        check_host(request.headers, services.settings)
        if services.settings.host not in LOOPBACK:
            address = request.client.host if request.client else ""
            if not await run_in_threadpool(authenticator.identify, request.headers, request.cookies, address):
                raise ApiError(401, 20, "Unauthorized (missing credentials)")
    except ApiError as error:
        return PlainTextResponse(str(error), error.code)
    text = await run_in_threadpool(request.app.state.monitor.text, services)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def create_app(services: Services) -> ASGIApp:
    """Return the application for an open installation."""
    app = Starlette(
        routes=[
            Route("/healthz", _health),
            Route("/metrics", _metrics),
            *files.ROUTES,
            *page.ROUTES,
            Route(f"/api/{{call:{REST}}}", _api, methods=ANY),
            Route(f"/{{call:{REST}}}", _api, methods=ANY),
        ]
    )
    monitor = Monitor(app, services)
    app.state.services, app.state.monitor = services, monitor
    return CrossOrigin(monitor, services)


class CrossOrigin:
    """Answers preflight requests and lets pages of other origins read answers, errors too.

    Browsers send our cookie only to requests from the same site (SameSite=Lax), so echoing an origin gives no
    foreign page anything that it could not fetch without us; except from a server that only this machine can
    reach and that lets anybody read files: there, a page must be of our host.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._open_reads = app, services.settings.open_reads

    def _welcome(self, origin: bytes | None, host: bytes) -> bool:
        if origin is None or not self._open_reads:
            return origin is not None
        try:
            ours = urlsplit(b"//" + host).hostname
            return urlsplit(origin).hostname == ours
        except ValueError:
            return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        origin = given.get(b"origin")
        if not self._welcome(origin, given.get(b"host", b"")):
            origin = None
        extra = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")] if origin else []
        if origin:
            extra.append((b"access-control-allow-credentials", b"true"))
            extra.append(
                (b"access-control-expose-headers", b"Content-Length, Content-Range, Content-Disposition")
            )
        if scope["method"] == "OPTIONS":
            asked = given.get(b"access-control-request-headers", b"Authorization, Content-Type, Range")
            extra.append((b"access-control-allow-headers", asked))
            extra.append((b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS, HEAD, PATCH"))
            extra.append((b"content-length", b"0"))
            await send({"type": "http.response.start", "status": 200, "headers": extra})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        await self._app(scope, receive, send_with_headers)
