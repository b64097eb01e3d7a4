"""Backups: of one moment while clients write, checked before they are put back, never half."""

import io
import json
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwise_server.errors import ServerError
from stepwise_server.installation import client_credentials
from stepwise_server.ops.backup import backup
from stepwise_server.ops.restore import restore
from stepwise_server.store import schema
from stepwise_server.testing import LocalServer


def put(server: LocalServer, name: str, content: bytes) -> None:
    """Upload a file."""
    token = server.login(*client_credentials(server.settings.folder))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=b-b"}
    head = f'--b-b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
    assert server.request("/files", head + content + b"\r\n--b-b--\r\n", headers)[0] == 200


def get(server: LocalServer, name: str) -> tuple[int, bytes]:
    token = server.login(*client_credentials(server.settings.folder))
    return server.request(f"/files/{name}", None, {"Authorization": f"Bearer {token}"}, "GET")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup of a small server, made while it ran."""
    with LocalServer(tmp_path / "original") as server:
        put(server, "project/a%20b/file", b"content")
        server.api("users.set_preferences", preferences={"kept": True})
        done = backup(tmp_path / "original", tmp_path / "backup.tar")
        assert done.files == 1 and done.damaged == [] and done.bytes == done.archive.stat().st_size
    return tmp_path / "backup.tar"


def test_a_backup_comes_back_whole(archive: Path, tmp_path: Path) -> None:
    assert archive.stat().st_mode & 0o077 == 0, "it holds the secrets"
    done = restore(archive, tmp_path / "new")
    assert done.files == 1 and done.before is None
    assert client_credentials(tmp_path / "new") == client_credentials(tmp_path / "original")
    with LocalServer(tmp_path / "new") as server:
        assert get(server, "project/a%2520b/file") == (200, b"content")
        assert server.api("users.get_preferences") == {"preferences": {"kept": True}}
    assert {file.name for file in tmp_path.iterdir()} == {"original", "backup.tar", "new"}


def test_what_was_there_before_is_kept(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "original"
    with LocalServer(folder) as server:
        server.api("users.set_preferences", preferences={"kept": False})
        with pytest.raises(ServerError, match="in use"):
            restore(archive, folder)
        assert server.api("users.get_preferences")["preferences"]["kept"] is False
    done = restore(archive, folder)
    assert done.before is not None and (done.before / "server.sqlite").exists()
    with LocalServer(folder) as server:
        assert server.api("users.get_preferences")["preferences"]["kept"] is True


def changed(archive: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Return a copy of an archive with other contents; a member of which nothing is left is left out."""
    copy = archive.with_name("changed.tar")
    with tarfile.open(archive) as source, tarfile.open(copy, "w") as target:
        for info in source:
            content = source.extractfile(info)
            assert content is not None
            new = change(info.name, content.read())
            if new is not None:
                info.size = len(new)
                target.addfile(info, io.BytesIO(new))
    return copy


def in_manifest(**changes: Any) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != "manifest.json":
            return content
        manifest = json.loads(content)
        manifest["contents"].update(changes.get("contents", {}))
        return json.dumps({**manifest, **changes, "contents": manifest["contents"]}).encode()

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda name, content: b"c0ntent" if name.startswith("files/") else content, "another checksum"),
        (lambda name, content: None if name == "token.secret" else content, "damaged or no backup"),
        (lambda name, content: None if name == "manifest.json" else content, "damaged or no backup"),
        (lambda name, content: b"{}" if name == "manifest.json" else content, "damaged or no backup"),
        (in_manifest(schema=len(schema.steps()) + 1), "knows"),
        (in_manifest(format=2), "knows 1"),
        (in_manifest(contents={"files/../../outside": {"size": 0, "sha256": ""}}), "must not lead elsewhere"),
        (in_manifest(contents={"elsewhere": {"size": 0, "sha256": ""}}), "it has a file 'elsewhere'"),
    ],
)
def test_a_damaged_or_newer_backup_changes_nothing(
    archive: Path, tmp_path: Path, change: Callable[[str, bytes], bytes | None], problem: str
) -> None:
    before = (tmp_path / "original" / "server.sqlite").read_bytes()
    with pytest.raises(ServerError, match=problem) as failure:
        restore(changed(archive, change), tmp_path / "original")
    assert failure.value.exit_code == 6 and failure.value.hint
    assert (tmp_path / "original" / "server.sqlite").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"original", "backup.tar", "changed.tar"}


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_cut_backup_is_refused(archive: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(ServerError, match="damaged or no backup"):
        restore(cut, tmp_path / "new")


def test_what_is_missing_has_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no installation"):
        backup(tmp_path / "nothing", tmp_path / "x.tar")
    with pytest.raises(ServerError, match="could not be restored"):
        restore(tmp_path / "nothing.tar", tmp_path / "new")
    with LocalServer(tmp_path / "data"), pytest.raises(ServerError, match="could not be written"):
        backup(tmp_path / "data", tmp_path / "no folder" / "x.tar")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "data") as server:
        for name in ("good", "altered", "gone"):
            put(server, name, b"content")
        (tmp_path / "data/files/altered").write_bytes(b"CONTENT")
        (tmp_path / "data/files/gone").unlink()
        done = backup(tmp_path / "data", tmp_path / "x.tar")
    assert done.damaged == ["altered", "gone"]
    restore(tmp_path / "x.tar", tmp_path / "new")
    assert (tmp_path / "new/files/good").read_bytes() == b"content"


def test_it_is_of_one_moment_while_clients_write(tmp_path: Path) -> None:
    """Each round writes a number, then uploads it, then a file with a name of its own, over and over."""
    with LocalServer(tmp_path / "data") as server:
        end = threading.Event()
        failures: list[BaseException] = []

        def report() -> None:
            try:
                number = 0
                while not end.is_set():
                    number += 1
                    server.api("users.set_preferences", preferences={"number": number})
                    put(server, "newest", str(number).encode())
                    put(server, f"each/{number}", str(number).encode())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=report)
        thread.start()
        try:
            for number in range(3):
                done = backup(tmp_path / "data", tmp_path / f"{number}.tar")
                assert done.damaged == []
        finally:
            end.set()
            thread.join()
        assert failures == []
    for number in range(3):
        folder = tmp_path / f"restored-{number}"
        restore(tmp_path / f"{number}.tar", folder)
        with sqlite3.connect(folder / "server.sqlite") as database:
            names = {row[0] for row in database.execute("SELECT path FROM files")}
            text = database.execute("SELECT preferences FROM users").fetchone()[0]
        said = json.loads(text).get("number", 0)
        on_disk = {
            str(file.relative_to(folder / "files"))
            for file in (folder / "files").rglob("*")
            if file.is_file()
        }
        assert on_disk == names
        newest = int((folder / "files/newest").read_bytes()) if "newest" in names else 0
        each = len(names - {"newest"})
        assert said >= newest >= each >= said - 1, "no later state next to an earlier one"
