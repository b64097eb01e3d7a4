"""`stepwise server export` between two real servers."""

import json
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_server.installation import client_credentials
from stepwise_server.ops import launch
from stepwise_server.ops.control import stop
from stepwise_server.testing import LocalServer


def test_tasks_move_to_another_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    running = launch.detach(launch.Launch(folder, port=0))
    try:
        from stepwise_server.export import Remote

        mine = Remote(f"{running.url}/api", f"{running.url}/files", *client_credentials(folder))
        task = mine.call("tasks.create", name="to be moved", type="training")["id"]
        with LocalServer(tmp_path / "theirs") as theirs:
            access_key, secret_key = client_credentials(theirs.settings.folder)
            monkeypatch.setenv("STEPWISE_EXPORT_ACCESS_KEY", access_key)
            monkeypatch.setenv("STEPWISE_EXPORT_SECRET_KEY", secret_key)
            command = ["server", "export", "--folder", str(folder), "--to", f"{theirs.url}/api", "--json"]
            assert main(command) == 0
            moved = json.loads(capsys.readouterr().out)["moved"]
            assert theirs.api("tasks.get_by_id", task=moved[task])["task"]["name"] == "to be moved"
            assert main(command) == 0
            assert json.loads(capsys.readouterr().out)["unchanged"] == [task]
            monkeypatch.setenv("STEPWISE_EXPORT_SECRET_KEY", "wrong")
            assert main(command) == 5
            assert "does not accept the access key" in capsys.readouterr().err
    finally:
        stop(folder)


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path, fails: Fails) -> None:
    command = ["server", "export", "--folder", tmp_path, "--to", "http://127.0.0.1:1/api"]
    assert "no server runs" in fails(4, *command, "--access-key", "A", "--secret-key", "B")
