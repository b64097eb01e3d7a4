"""Files when something goes wrong: a full disk, a server that is killed, a client that goes away in the middle."""

import http.client
import resource
import socket
import time
from pathlib import Path

from processes import ServerProcess

HEAD = b'--b-b\r\nContent-Disposition: form-data; name="a/file.bin"\r\n\r\n'
TAIL = b"\r\n--b-b--\r\n"


def headers(server: ServerProcess) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {server.token()}",
        "Content-Type": "multipart/form-data; boundary=b-b",
    }


def upload(server: ServerProcess, size: int) -> tuple[int, str]:
    """Upload a file of zeros, and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.running.port, timeout=30)
    connection.request("POST", "/files", HEAD + bytes(size) + TAIL, headers(server))
    response = connection.getresponse()
    return response.status, response.read().decode()


def begin_upload(server: ServerProcess, size: int) -> socket.socket:
    """Send half of a file, and return the connection once some of it has reached the disk."""
    connection = socket.create_connection(("127.0.0.1", server.running.port))
    lines = {**headers(server), "Host": "localhost", "Content-Length": str(len(HEAD) + size + len(TAIL))}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.sendall(f"POST /files HTTP/1.1\r\n{text}\r\n".encode() + HEAD + bytes(size // 2))
    give_up = time.monotonic() + 20
    while not any(file.stat().st_size for file in unfinished(server.folder)):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return connection


def unfinished(folder: Path) -> list[Path]:
    return list((folder / "files" / ".uploading").iterdir())


def wait_until_empty(folder: Path) -> None:
    give_up = time.monotonic() + 20
    while unfinished(folder):
        assert time.monotonic() < give_up, "the unfinished upload was left behind"
        time.sleep(0.02)


def test_a_file_that_does_not_fit_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
        status, text = upload(server, 20_000_000)
        assert (status, "disk is full" in text) == (500, True)
        assert unfinished(tmp_path) == [] and not (tmp_path / "files" / "a").exists()
        assert upload(server, 1_000_000)[0] == 200, "what fits is still taken"


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        begin_upload(server, 8_000_000).close()
        wait_until_empty(tmp_path)
        assert not (tmp_path / "files" / "a").exists()
    assert "Traceback" not in server.output


def test_a_killed_server_leaves_nothing_half(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert upload(server, 1000)[0] == 200
        connection = begin_upload(server, 8_000_000)
        server.process.kill()
        server.process.wait()
        connection.close()
    assert unfinished(tmp_path)
    with ServerProcess(tmp_path) as server:
        assert unfinished(tmp_path) == []
        connection2 = http.client.HTTPConnection("127.0.0.1", server.running.port, timeout=30)
        connection2.request("GET", "/files/a/file.bin", headers=headers(server))
        assert connection2.getresponse().read() == bytes(1000), "the acknowledged file is whole"


def test_running_downloads_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert upload(server, 50_000_000)[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", server.running.port, timeout=30)
        connection.request("GET", "/files/a/file.bin", headers=headers(server))
        connection.getresponse().read(10)  # and no more: the client sleeps
        started = time.monotonic()
        server.process.terminate()
        server.process.wait(20)
        assert time.monotonic() - started < 15
        assert server.process.returncode == 0
