"""`stepwise server`, as people and CI jobs use it: real servers in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from tiny_command import Fails

from stepwise_cli.commands.server import server as group
from stepwise_cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server, if any, is stopped at the end."""
    yield tmp_path / "data"
    main(["server", "stop", "--folder", str(tmp_path / "data")])


@pytest.fixture
def running(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The data folder of a server that runs."""
    assert main(["server", "start", "--detach", "--port", "0", "--folder", str(folder)]) == 0
    capsys.readouterr()
    return folder


def output_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that succeeds and return what it prints."""
    capsys.readouterr()
    assert main(["server", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def data_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(output_of(capsys, *arguments, "--json"))


def test_from_start_to_stop(folder: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    started = data_of(capsys, "start", "--detach", "--port", 0, "--folder", folder)
    assert urlopen(f"{started['url']}/healthz").read() == b"OK"
    state = data_of(capsys, "status", "--folder", folder)
    assert state["healthy"] and state["server"]["pid"] == started["pid"]
    assert f"running\nurl       {started['url']}\n" in output_of(capsys, "status", "--folder", folder)
    assert "is in use" in fails(1, "server", "start", "--detach", "--port", 0, "--folder", folder)
    assert str(started["pid"]) in output_of(capsys, "stop", "--folder", folder)
    assert "no server runs" in fails(4, "server", "stop", "--folder", folder)
    assert main(["server", "status", "--folder", str(folder)]) == 4
    assert "not running" in capsys.readouterr().out


def test_what_start_prints_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "start", "--detach", "--port", 0, "--folder", folder).splitlines()
    source = next(line for line in lines if "client.env" in line)
    code = "from clearml.backend_api import Session; print(Session().get_api_server_host())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML")}
    script = f"{source}\n{sys.executable} -c '{code}'"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split()[-1] == (folder / "client.env").read_text().split("\n")[0].partition("=")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ephemeral_server_leaves_nothing(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "stepwise_cli", "server", "start", "--ephemeral", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        started = json.loads(text)
        assert urlopen(f"{started['url']}/healthz").read() == b"OK"
        process.send_signal(number)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    assert not Path(started["folder"]).exists()


def test_others_are_warned_of(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stepwise_cli", "server", "start", "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(
        [*command, "--folder", str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert "other machines can reach this server" in process.stderr.readline()
        process.terminate()
        process.wait(20)


def test_a_taken_port(
    running: Path, tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    port = data_of(capsys, "status", "--folder", running)["server"]["port"]
    for detach in ([], ["--detach"]):
        explanation = fails(1, "server", "start", *detach, "--port", port, "--folder", tmp_path / "other")
        assert f"port {port}" in explanation and "--port 0" in explanation


def test_credentials(running: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    created = data_of(capsys, "credentials", "create", "--label", "laptop", "--folder", running)
    assert set(created) == {"access_key", "secret_key"}
    listed = data_of(capsys, "credentials", "list", "--folder", running)
    assert [key["label"] for key in listed] == ["generated at the first start", "laptop"]
    table = output_of(capsys, "credentials", "list", "--folder", running)
    assert created["access_key"] in table and created["secret_key"] not in table
    output_of(capsys, "credentials", "revoke", created["access_key"], "--folder", running)
    assert "no access key" in fails(1, "server", "credentials", "revoke", "X", "--folder", running)
    before = (running / "client.env").read_text()
    rotated = data_of(capsys, "credentials", "rotate", "--folder", running)
    after = (running / "client.env").read_text()
    assert rotated["secret_key"] in after and rotated["secret_key"] not in before
    assert f'"{rotated["access_key"]}"' in (running / "clearml.conf").read_text()


def test_users(running: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    text = output_of(capsys, "users", "add", "ann", "--role", "guest", "--generate", "--folder", running)
    assert len(text.split("password: ")[1].strip()) == 20
    asked = CliRunner().invoke(
        group, ["users", "add", "bob", "--folder", str(running)], input="secret\nsecret\n"
    )
    assert asked.exit_code == 0 and "secret" not in asked.output
    listed = data_of(capsys, "users", "list", "--folder", running)
    assert {user["username"]: user["role"] for user in listed} == {
        "admin": "admin",
        "ann": "guest",
        "bob": "user",
    }
    changed = output_of(capsys, "users", "password", "ann", "--generate", "--folder", running)
    assert len(changed.split(" to ")[1].strip()) == 20
    output_of(capsys, "users", "remove", "ann", "--folder", running)
    assert "no user 'ann'" in fails(1, "server", "users", "remove", "ann", "--folder", running)
    assert "last admin" in fails(1, "server", "users", "remove", "admin", "--folder", running)


def test_backup_restore_compact(
    running: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    file = tmp_path / "backup.tar"
    assert "saved" in output_of(capsys, "backup", file, "--folder", running)
    assert "in use" in fails(1, "server", "restore", file, "--folder", running)
    assert "in use" in fails(1, "server", "compact", "--folder", running)
    output_of(capsys, "stop", "--folder", running)
    done = data_of(capsys, "restore", file, "--folder", running)
    assert Path(done["before"]).is_dir()
    assert "bytes before" in output_of(capsys, "compact", "--folder", running)
    file.write_bytes(file.read_bytes()[:3000])
    assert "damaged" in fails(6, "server", "restore", file, "--folder", running)
    assert "no installation" in fails(1, "server", "backup", file, "--folder", tmp_path / "nothing")


def test_the_folder_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEPWISE_SERVER_DIR", str(tmp_path / "from-environment"))
    assert main(["server", "status"]) == 4
    assert "from-environment" in capsys.readouterr().out


def test_start_is_quick(tmp_path: Path) -> None:
    """From launch to the first answered call; the goal is 0.6 s on a quiet machine, this only finds disasters."""
    command = [sys.executable, "-m", "stepwise_cli", "server", "start", "--ephemeral", "--json"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        urlopen(f"{json.loads(text)['url']}/debug.ping").read()
        taken = time.monotonic() - started
        process.terminate()
    assert taken < 5
