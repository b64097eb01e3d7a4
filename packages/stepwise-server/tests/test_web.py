"""The page over HTTP: its headers, its static files, and the addresses that clients print as links."""

import gzip
import http.client
import json
import re

import pytest

from stepwise_server.testing import LocalServer


def get(server: LocalServer, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Fetch an address of the server without credentials."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(
        "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def static_files(server: LocalServer) -> list[str]:
    """Return what the document links to."""
    _, body = get(server, "/")
    return re.findall(r'(?:src|href)="(/static/[^"]+)"', body.decode())


VIEWS = ["/", "/login?next=%2F", "/compare?ids=a,b", "/models", "/datasets", "/queues", "/settings"]
LINKS = [  # what the SDK, its agent and our tracker print
    "/projects/0123/experiments/4567/output/log",
    "/projects/*/tasks/4567/output/log",
    "/projects/0123/tasks/4567",
    "/projects/0123/models/89ab/general",
    "/pipelines/0123/experiments/4567",
    "/datasets/simple/0123/experiments/4567",
    "/settings/workspace-configuration",
]


@pytest.mark.parametrize("path", [*VIEWS, *LINKS])
def test_every_address_of_a_view_is_the_document(server: LocalServer, path: str) -> None:
    response, body = get(server, path)
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert b'<div id="page">' in body


def test_the_document_is_not_kept_and_lets_no_other_host_in(server: LocalServer) -> None:
    response, body = get(server, "/")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    rules = dict(
        rule.strip().split(" ", 1) for rule in response.headers["Content-Security-Policy"].split(";")
    )
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert "http" not in response.headers["Content-Security-Policy"]
    assert not re.search(rb'(?:src|href)="(?!/static/)', body), "all that the document loads is ours"
    assert not re.search(rb"<script(?![^>]*src=)|\son\w+=", body), "no script within the document"


def test_the_document_says_nothing_of_the_installation(server: LocalServer) -> None:
    _, body = get(server, "/")
    assert str(server.settings.folder).encode() not in body


def test_what_the_document_links_to_is_there_and_kept_for_ever(server: LocalServer) -> None:
    found = static_files(server)
    assert {path.rpartition(".")[2] for path in found} == {"css", "js", "svg"}
    for path in found:
        response, body = get(server, path)
        assert response.status == 200 and body
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_each_module_that_a_module_imports_is_there(server: LocalServer) -> None:
    (main,) = [path for path in static_files(server) if path.endswith(".js")]
    waiting, seen = [main], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        response, body = get(server, path)
        assert response.status == 200, path
        assert response.headers["Content-Type"].startswith("text/javascript")
        for relative in re.findall(r'(?:from|import\()\s*"(\.[^"]+)"', body.decode()):
            folder = path.rpartition("/")[0] if relative.startswith("./") else path.rsplit("/", 2)[0]
            address = f"{folder}/{relative.lstrip('./')}"
            waiting += [address] if address not in seen else []
    assert len(seen) > 10


def test_static_files_come_compressed_to_those_who_can_read_that(server: LocalServer) -> None:
    plotly = re.sub(r"js/main\.js$", "plotly.min.js", static_files(server)[-1])
    packed, content = get(server, plotly, Accept_Encoding="gzip, br")
    plain, whole = get(server, plotly)
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(content) == whole
    assert len(content) < 1_500_000


def test_a_file_of_another_version_is_asked_for_again(server: LocalServer) -> None:
    response, _ = get(server, "/static/0123456789ab/page.css")
    assert response.status == 200 and response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["missing.js", "../routes.py", "%2e%2e/routes.py", "js", "", "../templates/page.html"]
)
def test_unknown_static_files(server: LocalServer, name: str) -> None:
    assert get(server, f"/static/0/{name}")[0].status == 404


def test_an_unknown_address_is_answered_as_an_unknown_call(server: LocalServer) -> None:
    response, body = get(server, "/nothing-here")
    assert response.status == 400 and json.loads(body)["meta"]["result_code"] == 400


@pytest.mark.parametrize("path", ["/api/v2.23/debug.ping", "/v2.23/debug.ping", "/debug.ping"])
def test_the_api_answers_as_before(server: LocalServer, path: str) -> None:
    response, body = get(server, path)
    assert response.status == 200 and json.loads(body)["meta"]["result_code"] == 200


def test_the_page_shows_nothing_without_a_login(server: LocalServer) -> None:
    response, body = get(server, "/api/v999.0/projects.get_all_ex")
    assert response.status == 401 and not json.loads(body)["data"]
