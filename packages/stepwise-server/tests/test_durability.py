"""What was acknowledged is there: the server killed while it is written to, and a disk that is full."""

import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

KILLS = 30


class Process:
    """A server in a process of its own, on a port that stays the same."""

    def __init__(self, folder: Path, *, file_bytes: int | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.file_bytes = folder, file_bytes
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "stepwise_server", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline()
        if self.file_bytes is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def token(self) -> str:
        pair = json.loads((self.folder / "client.json").read_text())
        basic = b64encode(f"{pair['access_key']}:{pair['secret_key']}".encode()).decode()
        token: str = self.send("auth.login", [{}], f"Basic {basic}")["data"]["token"]
        return token

    def send(self, endpoint: str, lines: list[dict[str, Any]], authorization: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            body = "\n".join(map(json.dumps, lines)).encode()
            connection.request("POST", f"/api/{endpoint}", body, {"Authorization": authorization})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


def report_without_pause(server: Process, token: str, task: str, stop: threading.Event) -> list[int]:
    """Send numbered batches, each once, and return the numbers that were acknowledged."""
    acknowledged = []
    number = 0
    while not stop.is_set():
        number += 1
        point = {"task": task, "type": "training_stats_scalar", "metric": "m", "variant": "v", "iter": number}
        line = {"task": task, "type": "log", "msg": f"line {number}"}
        try:
            answer = server.send("events.add_batch", [{**point, "value": number}, line], f"Bearer {token}")
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.01)
            continue
        if answer["meta"]["result_code"] == 200 and answer["data"]["added"] == 2:
            acknowledged.append(number)
    return acknowledged


@pytest.mark.slow
def test_thirty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    server = Process(tmp_path)
    token = server.token()
    bearer = f"Bearer {token}"
    task = server.send("tasks.create", [{"name": "killed", "type": "training"}], bearer)["data"]["id"]
    stop, acknowledged = threading.Event(), []
    client = threading.Thread(
        target=lambda: acknowledged.extend(report_without_pause(server, token, task, stop))
    )
    client.start()
    for round_number in range(KILLS):
        time.sleep(0.1 + 0.01 * (round_number % 7))
        server.kill()
        server.start()
    time.sleep(0.2)
    stop.set()
    client.join()
    query = {"task": task, "metric": {"metric": "m"}, "batch_size": 200_000, "count_total": True}
    points = server.send("events.scalar_metrics_iter_raw", [query], bearer)["data"]["variants"]["v"]["iter"]
    log = {"task": task, "batch_size": 200_000, "navigate_earlier": False}
    lines = [event["msg"] for event in server.send("events.get_task_log", [log], bearer)["data"]["events"]]
    server.kill()
    assert len(acknowledged) > KILLS
    assert set(acknowledged) <= set(points) and len(points) == len(set(points))
    assert {f"line {number}" for number in acknowledged} <= set(lines) and len(lines) == len(set(lines))


def test_a_full_disk_is_an_error_and_no_damage(tmp_path: Path) -> None:
    server = Process(tmp_path / "data")
    bearer = f"Bearer {server.token()}"
    task = server.send("tasks.create", [{"name": "full disk", "type": "training"}], bearer)["data"]["id"]
    server.kill()
    largest = max(file.stat().st_size for file in (tmp_path / "data").glob("server.sqlite*"))
    server.file_bytes = largest + 400_000
    server.start()
    kept = refused = 0
    for number in range(200):
        line = {"task": task, "type": "log", "msg": f"{number} " + "x" * 20_000}
        answer = server.send("events.add_batch", [line], bearer)
        if answer["meta"]["result_code"] == 200:
            kept += 1
            assert not refused
        else:
            refused += 1
            assert answer["meta"]["result_code"] == 500 and "disk is full" in answer["meta"]["result_msg"]
            if refused > 3:
                break
    assert server.send("tasks.get_by_id", [{"task": task}], bearer)["meta"]["result_code"] == 200
    server.kill()
    server.file_bytes = None  # somebody made room
    server.start()
    log = {"task": task, "batch_size": 1000}
    events = server.send("events.get_task_log", [log], bearer)["data"]["events"]
    server.kill()
    assert refused and len(events) == kept
