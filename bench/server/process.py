"""How long the server takes from launch to its first answered call, and how much memory it holds."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from serving import Client, serving

STARTS = 9
EVENTS = 1_000_000
EVENTS_PER_BATCH = 5000


@dataclass(frozen=True)
class Footprint:
    """What the server costs before it does anything useful, and after.

    Attributes:
        starts_s: launch to first answered call, for each start of a new folder.
        idle_mb: resident memory after a login.
        loaded_mb: resident memory after a million scalars and a chart of them.
    """

    starts_s: list[float]
    idle_mb: float
    loaded_mb: float

    @property
    def start_s(self) -> float:
        """Median start."""
        return statistics.median(self.starts_s)


def footprint() -> Footprint:
    """Measure starts of new folders, then memory before and after a million scalars."""
    starts = [_start() for _ in range(STARTS)]
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as port:
        client = Client(port, folder=Path(name))
        idle = _resident(port)
        task = client.call("tasks.create", name="bench", type="training")["id"]
        for first in range(0, EVENTS, EVENTS_PER_BATCH):
            client.send("events.add_batch", _batch(task, first))
        client.call("events.scalar_metrics_iter_histogram", task=task)
        return Footprint(starts, idle, _resident(port))


def _start() -> float:
    """Return seconds from the launch of a server on a new folder to its first answer."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "stepwise_server", folder, str(port)], stdout=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    Client(port).send("debug.ping", b"")
                    return time.perf_counter() - begin
                except OSError:
                    time.sleep(0.002)
        finally:
            process.terminate()
            process.wait()


def _resident(port: int) -> float:
    """Return the resident memory of the server on a port, in MB (10⁶ bytes)."""
    for child in psutil.Process(os.getpid()).children():
        if str(port) in child.cmdline():
            return float(child.memory_info().rss) / 1e6
    raise RuntimeError("the server is gone")


def _batch(task: str, first: int) -> bytes:
    event = {"type": "training_stats_scalar", "task": task, "metric": "loss", "variant": "train"}
    return "\n".join(
        json.dumps({**event, "iter": step, "value": 1 / (1 + step)})
        for step in range(first, first + EVENTS_PER_BATCH)
    ).encode()
