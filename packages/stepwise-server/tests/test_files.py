"""Files: what is uploaded comes back, and nothing outside the store is ever read or written."""

import gzip
import hashlib
import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stepwise_server.installation import client_credentials
from stepwise_server.testing import LocalServer

BOUNDARY = "a-boundary"


def bearer(server: LocalServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.login(*client_credentials(server.settings.folder))}"}


def form(parts: Mapping[str | bytes, bytes]) -> bytes:
    """Return a multipart body as the SDK's encoder writes it."""
    lines = b""
    for name, content in parts.items():
        raw = name.encode() if isinstance(name, str) else name
        raw = raw.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
        lines += b"--" + BOUNDARY.encode() + b'\r\nContent-Disposition: form-data; name="' + raw
        lines += b'"; filename="' + raw + b'"\r\nContent-Type: text/plain\r\n\r\n' + content + b"\r\n"
    return lines + b"--" + BOUNDARY.encode() + b"--\r\n"


def upload(
    server: LocalServer, parts: Mapping[str | bytes, bytes], path: str = "/files"
) -> tuple[int, bytes]:
    headers = {**bearer(server), "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return server.request(path, form(parts), headers)


def fetch(
    server: LocalServer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request for `/files/…` with a token, and return the response with its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers={**bearer(server), **given})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@pytest.mark.parametrize("path", ["/files", "/files/"])
def test_what_the_sdk_uploads_comes_back_under_its_url(server: LocalServer, path: str) -> None:
    name = "/My Proj/sub %C3%BC/run %231.0123/artifacts/art 1/art 1.json"
    status, answer = upload(server, {name: b'{"a": 1}'}, path)
    assert status == 200 and json.loads(answer) == [name[1:]]
    response, body = fetch(server, "/files" + quote(name))
    assert (response.status, body) == (200, b'{"a": 1}')
    assert response.headers["Content-Length"] == "8"
    assert response.headers["Content-Type"] == "application/json"
    assert (server.settings.files / name[1:]).read_bytes() == body, "the name is stored literally"


def test_several_files_in_one_form_and_overwriting(server: LocalServer) -> None:
    assert upload(server, {"several/a": b"1", "several/b": b""})[0] == 200
    assert upload(server, {"several/a": b"22"})[0] == 200
    assert fetch(server, "/files/several/a")[1] == b"22"
    assert fetch(server, "/files/several/b")[0].headers["Content-Length"] == "0"


def test_the_etag_is_the_content_hash(server: LocalServer) -> None:
    content = os.urandom(100_000)
    upload(server, {"etag.bin": content})
    response, _ = fetch(server, "/files/etag.bin", "HEAD")
    assert response.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert response.headers["Content-Length"] == "100000"
    assert response.headers["Accept-Ranges"] == "bytes"
    same, body = fetch(server, "/files/etag.bin", If_None_Match=response.headers["ETag"])
    assert (same.status, body) == (304, b"")
    since, _ = fetch(server, "/files/etag.bin", If_Modified_Since=response.headers["Last-Modified"])
    assert since.status == 304
    other, body = fetch(server, "/files/etag.bin", If_None_Match='"other"')
    assert (other.status, body) == (200, content)


@pytest.mark.parametrize(
    ("asked", "status", "expected", "described"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(server: LocalServer, asked: str, status: int, expected: bytes, described: str | None) -> None:
    upload(server, {"range.txt": b"0123456789"})
    response, body = fetch(server, "/files/range.txt", Range=asked)
    assert (response.status, body, response.headers["Content-Range"]) == (status, expected, described)


def test_a_compressed_file_stays_compressed(server: LocalServer) -> None:
    content = gzip.compress(b"x" * 1000)
    upload(server, {"data.tar.gz": content})
    response, body = fetch(server, "/files/data.tar.gz", Accept_Encoding="gzip")
    assert body == content
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert "Content-Encoding" not in response.headers


def test_download_names_the_file(server: LocalServer) -> None:
    upload(server, {"folder/größe 1.txt": b"x"})
    path = "/files/" + quote("folder/größe 1.txt") + "?download&X-Amz-Date=1"
    disposition = fetch(server, path)[0].headers["Content-Disposition"]
    assert disposition == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.txt"


def test_delete(server: LocalServer) -> None:
    upload(server, {"gone/deep/a": b"1"})
    response, body = fetch(server, "/files/gone/deep/a", "DELETE")
    assert (response.status, json.loads(body)) == (200, "gone/deep/a")
    assert fetch(server, "/files/gone/deep/a")[0].status == 404
    assert fetch(server, "/files/gone/deep/a", "DELETE")[0].status == 404
    assert not (server.settings.files / "gone").exists(), "empty folders go too"


def test_delete_many_takes_folders_and_encoded_names(server: LocalServer) -> None:
    upload(server, {"many/a b": b"1", "many/x/y": b"2", "many0": b"3"})
    body = json.dumps({"files": ["/files/many/a%20b", "many", "not there", "../x"]}).encode()
    status, answer = server.request("/files/delete_many", body, bearer(server))
    result = json.loads(answer)
    assert status == 200
    assert result["deleted"] == {"/files/many/a%20b": "many/a b", "many": "many"}
    assert sorted(name for group in result["errors"].values() for name in group) == ["../x", "not there"]
    assert fetch(server, "/files/many/x/y")[0].status == 404
    assert fetch(server, "/files/many0")[0].status == 200


def test_delete_urls_knows_its_own(server: LocalServer) -> None:
    upload(server, {"urls/a %23": b"1", "urls/b": b"2", "urls/c": b"3"})
    urls = [
        f"{server.url}/files/urls/a%20%2523",
        f"http://localhost:{server.port}/files/urls/b",
        "https://elsewhere.example/files/urls/c",
        "s3://bucket/files/urls/c",
        "not [a url",
        "/elsewhere/files/urls/c",
    ]
    assert server.services.files.delete_urls(urls) == 2
    server.services.database.write(lambda tx: None)  # the writer works in order
    assert fetch(server, "/files/urls/b")[0].status == 404
    assert fetch(server, "/files/urls/a%20%2523")[0].status == 404
    assert fetch(server, "/files/urls/c")[0].status == 200


def test_the_uri_of_a_model_is_its_name_as_it_is(server: LocalServer) -> None:
    name = "P %231 %C3%BC/run %231.id/models/wei #ü.bin"
    upload(server, {name: b"1"})
    assert server.services.files.delete_urls([f"{server.url}/files/{name}"]) == 1
    server.services.database.write(lambda tx: None)
    assert not (server.settings.files / name).exists()
    upload(server, {"P %231 %C3%BC/models/a.bin": b"1"})
    as_requests_sends_it = "/files/P%20%231%20%C3%BC/models/a.bin"
    assert fetch(server, as_requests_sends_it)[1] == b"1"
    assert fetch(server, as_requests_sends_it, "DELETE")[0].status == 200


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "a/../../outside",
        "/../outside",
        "..",
        ".",
        "/",
        "",
        "a/./b",
        ".uploading/x",
        "nul\0byte",
        "x" * 256,
        "/".join(["x" * 200] * 30),
        "/".join("x" * 101),
        b"\xff\xfe",
    ],
)
def test_impossible_names_are_400(server: LocalServer, name: str | bytes) -> None:
    assert upload(server, {name: b"x"})[0] == 400
    raw = name.encode() if isinstance(name, str) else name
    if raw.strip(b"/"):
        for method in ("GET", "DELETE"):
            assert fetch(server, "/files/" + quote(raw, safe=""), method)[0].status == 400


@pytest.mark.parametrize(
    "path", ["/files/..%2f..%2fserver.sqlite", "/files/../server.sqlite", "/files/%2e%2e/token.secret"]
)
def test_the_rest_of_the_data_folder_is_out_of_reach(server: LocalServer, path: str) -> None:
    response, body = fetch(server, path)
    assert response.status == 400 and b"SQLite" not in body


def test_links_are_not_followed(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    upload(server, {"links/own": b"1", "links/dir/own": b"1"})
    (server.settings.files / "links/own").unlink()
    (server.settings.files / "links/own").symlink_to(tmp_path / "secret")
    (server.settings.files / "links/out").symlink_to(tmp_path)
    assert fetch(server, "/files/links/own")[0].status == 404
    assert upload(server, {"links/out/written": b"1"})[0] == 400
    assert fetch(server, "/files/links/out/secret")[0].status == 404
    assert sorted(each.name for each in tmp_path.iterdir()) == ["secret"]


def test_a_file_where_a_folder_is_needed_is_400(server: LocalServer) -> None:
    upload(server, {"clash/file": b"1", "clash/folder/file": b"1"})
    assert upload(server, {"clash/file/below": b"1"})[0] == 400
    assert upload(server, {"clash/folder": b"1"})[0] == 400
    assert fetch(server, "/files/clash/file")[1] == b"1"
    assert not list(server.services.files.uploads.iterdir()), "what was refused leaves nothing behind"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", f"multipart/form-data; boundary={BOUNDARY}"),
        (b"no form at all", f"multipart/form-data; boundary={BOUNDARY}"),
        (form({"cut": b"content"})[:-6], f"multipart/form-data; boundary={BOUNDARY}"),
        (b"{}", "application/json"),
        (b"x", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=" + "b" * 1000),
        (form({"x": b"1"}).replace(b'name="x"; ', b""), f"multipart/form-data; boundary={BOUNDARY}"),
    ],
)
def test_a_broken_form_is_400_and_leaves_nothing(server: LocalServer, body: bytes, kind: str) -> None:
    assert server.request("/files", body, {**bearer(server), "Content-Type": kind})[0] == 400
    assert fetch(server, "/files/cut")[0].status == 404
    assert not list(server.services.files.uploads.iterdir())


def test_only_those_who_may(server: LocalServer) -> None:
    upload(server, {"private": b"1"})
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert server.request("/files/private", b"", method=method)[0] == 401
    assert server.request("/files/private", headers={"Authorization": "Bearer x"}, method="GET")[0] == 401
    token = bearer(server)["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"clearml_token_basic={token}"}
    assert server.request("/files/private", headers=cookie, method="GET") == (200, b"1")


def test_pages_of_other_origins_may_read_answers_and_errors(server: LocalServer) -> None:
    upload(server, {"cors": b"1"})
    for path in ("/files/cors", "/files/missing"):
        response, _ = fetch(server, path, Origin="http://localhost:8080")
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:8080"
        assert "Content-Length" in response.headers["Access-Control-Expose-Headers"]
    status, _ = server.request("/files/cors", method="OPTIONS")
    assert status == 200


def test_a_dropped_download_does_no_harm(server: LocalServer) -> None:
    upload(server, {"large": b"x" * 5_000_000})
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/files/large", headers=bearer(server))
        assert connection.getresponse().read(10) == b"x" * 10
        connection.close()
    assert len(fetch(server, "/files/large")[1]) == 5_000_000


PARTS = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(["..", ".", "", "%2e%2e", "%2F", "a\\b", "C:", "CON", '"q"', "a;b=c", " ", "~", "\n"]),
)


@given(name=st.lists(PARTS, min_size=1, max_size=6).map("/".join), content=st.binary(max_size=50))
@example(name='a"b', content=b"1")
@example(name="per%cent/%2e%2e/x", content=b"2")
@example(name="C:\\Windows\\..\\x", content=b"3")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_comes_back_or_is_refused(server: LocalServer, name: str, content: bytes) -> None:
    try:
        raw = ("fuzz/" + name).encode()
    except UnicodeEncodeError:  # a lone surrogate cannot be sent
        return
    before = _outside(server)
    status, _ = upload(server, {raw: content})
    assert status in (200, 400)
    response, body = fetch(server, "/files/" + quote(raw, safe="/"))
    if status == 200:
        assert (response.status, body) == (200, content)
        assert fetch(server, "/files/" + quote(raw), "DELETE")[0].status == 200
    else:
        assert response.status in (400, 404)
    assert _outside(server) == before


def _outside(server: LocalServer) -> list[str]:
    """Return the names of all that lies beside the store."""
    return sorted(
        each.name for each in server.settings.folder.iterdir() if not each.name.startswith("server.")
    )
