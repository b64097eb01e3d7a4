"""How long the table of experiments takes with ten thousand tasks, and how fast files go up and down."""

import http.client
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from serving import Client, serving

TASKS = 10_000
QUERIES = 40
FILE_BYTES = 512 * 2**20
PARAMETERS = 30
QUERY_FIELDS = ["name", "status", "system_tags", "project.name", "company", "last_change", "last_update", "started",
                "last_iteration", "tags", "user.name", "runtime.progress", "hyperparams.Args.lr.value"]  # fmt: skip
LOSS = "last_metrics.81513effdf5790b79549208838404407.61b3a8faa9c1091806675c230a9abe64"


@dataclass(frozen=True)
class Browsing:
    """Figures of the table and of files.

    Attributes:
        queries: name of a query to its median and 95th percentile, in ms.
        upload_mb_s: file throughput up, in MB (10⁶ bytes) per second.
        download_mb_s: and down.
    """

    queries: dict[str, tuple[float, float]]
    upload_mb_s: float
    download_mb_s: float


def browsing() -> Browsing:
    """Measure with a new server."""
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as port:
        client = Client(port, folder=Path(name))
        project = client.call("projects.create", name="bench/tables")["id"]
        _fill(client, project)
        query = {"project": [project], "size": 50, "scroll_id": None, "only_fields": [*QUERY_FIELDS, LOSS]}
        query["system_tags"] = ["__$not", "archived", "__$not", "pipeline", "__$not", "dataset"]
        found = {
            "newest 50": query | {"order_by": ["-last_update"]},
            "50 best by a metric": query | {"order_by": [f"{LOSS}.min_value"]},
            "50 by a parameter": query | {"order_by": ["hyperparams.Args.lr.value"]},
            "50 that a search finds": query
            | {"_any_": {"fields": ["id", "name", "comment"], "pattern": "run 77"}},
        }
        queries = {title: _times(client, body) for title, body in found.items()}
        up, down = _files(port, client)
    return Browsing(queries, up, down)


def _fill(client: Client, project: str) -> None:
    for number in range(TASKS):
        lr = {"section": "Args", "name": "lr", "value": str(number / TASKS)}
        others = {
            f"p{each}": {"section": "Args", "name": f"p{each}", "value": "x"} for each in range(PARAMETERS)
        }
        task = client.call(
            "tasks.create", name=f"run {number}", type="training", project=project, tags=[f"t{number % 7}"],
            hyperparams={"Args": {"lr": lr, **others}}, script={"diff": "x" * 4000},
        )["id"]  # fmt: skip
        event = {
            "type": "training_stats_scalar",
            "task": task,
            "metric": "loss",
            "variant": "train",
            "iter": 1,
        }
        client.send("events.add_batch", json.dumps({**event, "value": (number * 7919) % TASKS}).encode())


def _times(client: Client, query: dict[str, object]) -> tuple[float, float]:
    body = json.dumps(query).encode()
    times = []
    for _ in range(QUERIES):
        begin = time.perf_counter()
        answer = client.send("tasks.get_all_ex", body)
        times.append((time.perf_counter() - begin) * 1000)
        if b'"result_code":200' not in answer or b'"tasks":[{' not in answer:
            raise RuntimeError(answer[:300])
    return statistics.median(times), sorted(times)[round(0.95 * (len(times) - 1))]


def _files(port: int, client: Client) -> tuple[float, float]:
    """Send one large file up and fetch it again; return MB per second both ways."""
    chunk = os.urandom(2**20)
    head = (
        b'--b\r\nContent-Disposition: form-data; name="/bench/large.bin"; filename="/bench/large.bin"\r\n\r\n'
    )
    tail = b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    begin = time.perf_counter()
    connection.putrequest("POST", "/files")
    connection.putheader("Authorization", f"Bearer {client.token}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + FILE_BYTES + len(tail)))
    connection.endheaders()
    connection.send(head)
    for _ in range(FILE_BYTES // len(chunk)):
        connection.send(chunk)
    connection.send(tail)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(response.read())
    response.read()
    up = FILE_BYTES / (time.perf_counter() - begin) / 1e6
    begin = time.perf_counter()
    connection.request("GET", "/files/bench/large.bin", headers={"Authorization": f"Bearer {client.token}"})
    response = connection.getresponse()
    size = 0
    while block := response.read(2**20):
        size += len(block)
    if size != FILE_BYTES:
        raise RuntimeError(f"{size} bytes came back")
    return up, FILE_BYTES / (time.perf_counter() - begin) / 1e6
