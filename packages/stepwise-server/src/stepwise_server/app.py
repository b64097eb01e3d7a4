"""The web application: one origin for the page, the API and the files.

/api/…                the API; also /v2.x/service.action and /service.action, so that a bare host works
/files/…              uploaded files
/healthz, /metrics    for those who watch over it
/                     the page
"""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwise_server import clock
from stepwise_server.api import dispatch
from stepwise_server.files import routes as files
from stepwise_server.routing import REST
from stepwise_server.services import Services

ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def _api(request: Request) -> Response:
    return await dispatch.answer(request, "/" + request.path_params["call"])


async def _health(request: Request) -> Response:
    services: Services = request.app.state.services
    services.database.read(lambda tx: tx.value("SELECT 1"))
    return PlainTextResponse("OK")


def create_app(services: Services) -> ASGIApp:
    """Return the application for an open installation."""
    app = Starlette(
        routes=[
            Route("/healthz", _health),
            *files.ROUTES,
            Route(f"/api/{{call:{REST}}}", _api, methods=ANY),
            Route(f"/{{call:{REST}}}", _api, methods=ANY),
        ]
    )
    app.state.services = services
    app.state.started = (clock.now(), time.monotonic())
    return CrossOrigin(app)


class CrossOrigin:
    """Answers preflight requests and lets pages of other origins read answers, errors too.

    Browsers send our cookie only to requests from the same site (SameSite=Lax), so echoing an origin gives no
    foreign page anything that it could not fetch without us.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        origin = given.get(b"origin")
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
