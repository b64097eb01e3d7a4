"""Serves the page. Every address of a view is the same document: its JavaScript reads the address."""

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stepwise_server import __version__

STATIC = Path(str(files("stepwise_server.web"))) / "static"
TEMPLATES = Path(str(files("stepwise_server.web"))) / "templates"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly writes its own style element
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
"""No script but ours, no other host, no frame around the page."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
VIEWS = (
    *("/", "/login", "/compare", "/models", "/datasets", "/queues", "/settings"),
    *("/projects/{rest:path}", "/datasets/{rest:path}", "/pipelines/{rest:path}", "/settings/{rest:path}"),
)
"""Addresses of the page; those with a rest are what the SDK prints as links."""


@lru_cache
def _assets() -> dict[str, Path]:
    """Return the static files by name; Plotly's JavaScript is the one that its Python package carries."""
    found = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.suffix in TYPES}
    plotly = distribution("plotly").locate_file("plotly/package_data/plotly.min.js")
    return {**found, "plotly.min.js": Path(str(plotly))}


@lru_cache
def version() -> str:
    """Return a hash of all of our static files: part of their addresses, so that browsers may keep them for ever."""
    digest = hashlib.sha256(__version__.encode())
    for name, path in sorted(_assets().items()):
        if name != "plotly.min.js":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_assets()[name].read_bytes(), 9)


@lru_cache
def _document() -> str:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    return environment.get_template("page.html").render(version=version(), release=__version__)


async def page(_: Request) -> Response:
    """Answer with the document."""
    return Response(await run_in_threadpool(_document), media_type="text/html", headers=HEADERS)


async def static(request: Request) -> Response:
    """Answer with a static file, compressed; browsers keep what has the current version in its address."""
    name, asked = request.path_params["name"], request.path_params["version"]
    if name not in _assets():
        return PlainTextResponse("not found", 404)
    kept = "public, max-age=31536000, immutable" if asked == version() else "no-cache"
    headers = {**HEADERS, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    media_type = TYPES[Path(name).suffix]
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(await run_in_threadpool(_compressed, name), media_type=media_type, headers=headers)
    content = await run_in_threadpool(_assets()[name].read_bytes)
    return Response(content, media_type=media_type, headers=headers)


Handler = Callable[[Request], Awaitable[Response]]
ROUTES = [
    Route("/static/{version}/{name:path}", static),
    *(Route(view, page) for view in VIEWS),
]
