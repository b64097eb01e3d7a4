"""Starting, stopping, watching a server: real processes."""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from processes import ServerProcess

from stepwise_server.errors import ServerError
from stepwise_server.installation import client_credentials, open_services, read_client
from stepwise_server.ops import access, clients, compact, control
from stepwise_server.ops.folder import default_folder, find_running, locked, require_running
from stepwise_server.ops.launch import Launch, detach, ephemeral, warnings
from stepwise_server.services import Settings
from stepwise_server.store import schema
from stepwise_server.testing import ApiFailure, LocalServer


def test_a_second_server_on_one_folder_gets_one_clear_line(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        command = [sys.executable, "-m", "stepwise_server", str(tmp_path), "0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert second.returncode == 1
        error, hint = second.stderr.splitlines()
        assert error.startswith("error: the data folder") and str(server.running.pid) in error
        assert "stepwise server stop" in hint


def test_a_taken_port_gets_one_clear_line(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "a") as server:
        command = [sys.executable, "-m", "stepwise_server", str(tmp_path / "b"), str(server.running.port)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert second.returncode == 1 and "cannot listen at 127.0.0.1" in second.stderr
        assert "Traceback" not in second.stderr


def test_it_tells_how_it_is_reached_and_ends_clean(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert find_running(tmp_path) == server.running
        assert server.call("server.info", {}, {"Authorization": f"Bearer {server.token()}"})["uid"]
    assert server.process.returncode == 0, "SIGTERM is the usual end"
    assert find_running(tmp_path) is None
    assert not (tmp_path / "server.sqlite-wal").exists(), "the database was closed"
    assert "CLEARML_CONFIG_FILE" in server.output and "Traceback" not in server.output
    assert client_credentials(tmp_path)[1] not in server.output, "secrets are in files only"


def test_a_killed_server_leaves_no_lock(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.process.kill()
        server.process.wait()
        assert find_running(tmp_path) is None
        with pytest.raises(ServerError) as failure:
            require_running(tmp_path)
        assert failure.value.exit_code == 4
    with ServerProcess(tmp_path) as again:
        assert again.token()


def test_detached_it_answers_when_start_returns(tmp_path: Path) -> None:
    server = detach(Launch(tmp_path / "new" / "folder", port=0))
    try:
        assert urlopen(f"{server.url}/healthz").read() == b"OK"
        state = control.status(Path(server.folder))
        assert state.healthy and state.server == server and state.database_bytes > 0
        assert os.getsid(server.pid) != os.getsid(0), "it outlives our terminal"
        with pytest.raises(ServerError, match=f"in use by the server with pid {server.pid}"):
            detach(Launch(Path(server.folder), port=0))
    finally:
        assert control.stop(Path(server.folder)) == server
    with pytest.raises(ServerError, match="no server runs"):
        control.stop(Path(server.folder))
    assert not control.status(Path(server.folder)).healthy


def test_an_ephemeral_server_leaves_nothing() -> None:
    server = detach(ephemeral(Launch(Path(), port=0)))
    folder = Path(server.folder)
    assert client_credentials(folder)
    os.kill(server.pid, signal.SIGTERM)
    give_up = time.monotonic() + 15
    while folder.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not folder.exists()


def test_a_detached_start_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match="cannot be made"):
        detach(Launch(tmp_path / "file" / "folder", port=0))


def test_it_warns_when_others_can_reach_it() -> None:
    assert warnings(Launch(Path(), host="127.0.0.1")) == []
    assert "other machines can reach this server" in warnings(Launch(Path(), host="0.0.0.0"))[0]
    assert len(warnings(Launch(Path(), host="0.0.0.0", open_reads=True))) == 2


def test_clients_are_told_all_hosts(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--url", "https://ml.example/") as server:
        pass
    text = (tmp_path / "client.env").read_text()
    values = dict(line.split("=", 1) for line in text.splitlines())
    assert values["CLEARML_API_HOST"] == "https://ml.example/api"
    assert values["CLEARML_FILES_HOST"] == "https://ml.example/files"
    assert (values["CLEARML_API_ACCESS_KEY"], values["CLEARML_API_SECRET_KEY"]) == client_credentials(
        tmp_path
    )
    for name in (clients.CONFIG, clients.ENVIRONMENT, "client.json"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert server.running.url == "https://ml.example"


def test_the_sdk_reads_our_clearml_conf(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        code = (
            "from clearml.backend_api import Session; s = Session();"
            "print(s.get_api_server_host(), s.get_files_server_host(), s.access_key)"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML")}
        environment["CLEARML_CONFIG_FILE"] = str(tmp_path / "clearml.conf")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
        )
        url = server.running.url
        assert done.stdout.split()[-3:] == [f"{url}/api", f"{url}/files", client_credentials(tmp_path)[0]]


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEPWISE_SERVER_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local/share/stepwise/server"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_folder() == tmp_path / "data/stepwise/server"
    monkeypatch.setenv("STEPWISE_SERVER_DIR", "~/here")
    assert default_folder() == tmp_path / "here"


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with LocalServer(tmp_path):
        pass
    known = len(schema.steps())
    with sqlite3.connect(tmp_path / "server.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {known + 1}")
    newer = pytest.raises(ServerError, match=f"schema {known + 1}.*knows {known}")
    with newer as failure, open_services(Settings(tmp_path)):
        pass
    assert failure.value.exit_code == 6 and failure.value.hint
    with pytest.raises(ServerError, match="knows"):
        access.list_keys(tmp_path)
    with locked(tmp_path):
        pass  # the refusal holds nothing


def test_keys_from_the_command_line_count_for_a_running_server(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        key, secret = access.create_key(tmp_path, None, "laptop")
        token = server.login(key, secret)
        header = {"Authorization": f"Bearer {token}"}
        assert server.call("server.info", {}, header)
        assert [each.label for each in access.list_keys(tmp_path)][1:] == ["laptop"]
        access.revoke_key(tmp_path, key)
        time.sleep(1.1)
        with pytest.raises(ApiFailure, match="revoked"):
            server.call("server.info", {}, header)
        with pytest.raises(ServerError, match="no access key"):
            access.revoke_key(tmp_path, key)
        own = client_credentials(tmp_path)
        with pytest.raises(ServerError) as failure:
            access.revoke_key(tmp_path, own[0])
        assert failure.value.hint == "stepwise server credentials rotate"
        new = access.rotate_key(tmp_path, None)
        assert new == client_credentials(tmp_path) and server.login(*new)
        with pytest.raises(ApiFailure):
            server.login(*own)


def test_users_from_the_command_line(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        user = access.add_user(tmp_path, "ann", "a password", "guest", None)
        token = server.login("ann", "a password")
        with pytest.raises(ServerError, match="already"):
            access.add_user(tmp_path, "ann", "x", "user", None)
        with pytest.raises(ServerError, match="colon"):
            access.add_user(tmp_path, "a:b", "x", "user", None)
        key, _ = access.create_key(tmp_path, "ann", None)
        listed = {each.username: each for each in access.list_users(tmp_path)}
        assert (listed["ann"].role, listed["ann"].keys, listed["ann"].id) == ("guest", 1, user)
        access.remove_user(tmp_path, "ann")
        assert key not in {each.access_key for each in access.list_keys(tmp_path)}
        time.sleep(1.1)
        with pytest.raises(ApiFailure, match="revoked"):
            server.call("server.info", {}, {"Authorization": f"Bearer {token}"})
        for name, problem in (("ann", "no user"), ("admin", "last admin")):
            with pytest.raises(ServerError, match=problem):
                access.remove_user(tmp_path, name)
    with pytest.raises(ServerError, match="no installation"):
        access.list_users(tmp_path / "nothing")


def test_another_password_ends_logins(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        client = read_client(tmp_path)
        old = {"Authorization": f"Bearer {server.login(client.username, client.password)}"}
        assert server.call("server.info", {}, old)
        access.set_password(tmp_path, client.username, "another")
        time.sleep(1.1)
        with pytest.raises(ApiFailure, match="revoked"):
            server.call("server.info", {}, old)
        with pytest.raises(ApiFailure, match="invalid credentials"):
            server.login(client.username, client.password)
        new = {"Authorization": f"Bearer {server.login(client.username, 'another')}"}
        assert server.call("server.info", {}, new)
        assert read_client(tmp_path).password == "" and client.password not in "".join(
            clients.instructions(tmp_path, server.url)
        )
        user = server.api("auth.create_user", name="Ann")["id"]
        with pytest.raises(ServerError, match="no user name"):
            access.set_password(tmp_path, user, "x")


def test_compact_gives_space_back_and_removes_orphans(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        body = b'--b\r\nContent-Disposition: form-data; name="kept/file"\r\n\r\nx\r\n--b--\r\n'
        token = server.login(*client_credentials(tmp_path))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=b"}
        assert server.request("/files", body, headers)[0] == 200
        blob = "x" * 900_000
        server.api("users.set_preferences", preferences={"blob": blob})
        server.api("users.set_preferences", preferences={"blob": ""})
        with pytest.raises(ServerError, match="in use"):
            compact.compact(tmp_path)
    (tmp_path / "files" / "orphan" / "deep").mkdir(parents=True)
    (tmp_path / "files" / "orphan" / "deep" / "file").write_bytes(b"12345")
    done = compact.compact(tmp_path)
    assert (done.orphans, done.orphan_bytes) == (1, 5)
    assert done.database_after < done.database_before - 800_000
    assert not (tmp_path / "files" / "orphan").exists()
    assert (tmp_path / "files" / "kept" / "file").read_bytes() == b"x"
    with LocalServer(tmp_path) as server:
        assert server.api("users.get_preferences") == {"preferences": {"blob": ""}}


def metrics(server: LocalServer) -> dict[str, float]:
    status, body = server.request("/metrics", method="GET")
    assert status == 200
    samples = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert all(
        re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [-+.\de]+', one) for one in samples
    )
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in samples)}


def test_metrics(tmp_path: Path) -> None:
    with LocalServer(tmp_path) as server:
        server.api("server.info")
        server.request("/no%20such%22%0Apath")
        server.request("/files/x", method="GET")
        found = metrics(server)
        assert found['stepwise_requests_total{endpoint="server.info",code="200"}'] == 1
        assert found['stepwise_requests_total{endpoint="files",code="401"}'] == 1
        assert found['stepwise_requests_total{endpoint="other",code="400"}'] == 1
        count = found["stepwise_request_seconds_count"]
        assert found['stepwise_request_seconds_bucket{le="+Inf"}'] == count == 4  # with auth.login
        assert found["stepwise_database_bytes"] > 0 and found["stepwise_resident_memory_bytes"] > 1e7
        assert found['stepwise_queue_tasks{queue="default"}'] == 0
        task = server.api("tasks.create", name="a task", type="training")["id"]
        server.events(*({"type": "log", "task": task, "msg": "a line"} for _ in range(3)))
        found = metrics(server)
        assert found["stepwise_events_total"] == 3
        assert found['stepwise_tasks{status="created"}'] == 1
        assert found["stepwise_writes_waiting"] == 0 and found["stepwise_uptime_seconds"] > 0


def test_metrics_of_an_open_server_need_a_login(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--host", "0.0.0.0") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.running.port, timeout=20)
        statuses = []
        for headers in ({}, {"Authorization": f"Bearer {server.token()}"}):
            connection.request("GET", "/metrics", headers=headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        assert statuses == [401, 200]


def test_an_unhealthy_server_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwise_server.limits.HEALTH_SECONDS", 0.1)
    with LocalServer(tmp_path) as server:
        assert server.request("/healthz", method="GET") == (200, b"OK")
        free = threading.Event()
        server.services.database.submit(lambda tx: free.wait(20))
        assert server.request("/healthz", method="GET")[0] == 503
        free.set()
        server.services.database.write(lambda tx: None)
        assert server.request("/healthz", method="GET")[0] == 200


def test_requests_have_ids_in_answers_and_logs(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    with ServerProcess(
        tmp_path / "data", "--log-file", str(log_file), "--log-json", "--log-requests"
    ) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.running.port, timeout=20)
        connection.request("POST", "/api/v2.23/server.info%0Aforged")
        response = connection.getresponse()
        meta = json.loads(response.read())["meta"]
        assert response.headers["X-Request-Id"] == meta["id"]
        server.token()
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    logged = {line.get("request"): line for line in lines}
    assert logged[meta["id"]]["status"] == 400 and "%0Aforged" in logged[meta["id"]]["message"]
    assert any(line.get("endpoint") == "auth.login" and line["status"] == 200 for line in lines)
    assert read_client(tmp_path / "data").secret_key not in log_file.read_text()
    assert log_file.stat().st_mode & 0o077 == 0
