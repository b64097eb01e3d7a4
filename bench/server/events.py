"""What the server takes in per second, and how long charts of many points take.

`python bench/server/events.py` prints both; `ingestion` and `charts` are for other benchmarks.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from serving import Client, serving

CLIENTS = (1, 4, 16)
EVENTS_PER_BATCH = 2000
SERIES_PER_CLIENT = 10
SECONDS = 5.0
BATCHES_PER_SECOND = 150
POINTS = (10_000, 100_000, 1_000_000, 10_000_000)
QUERIES = 40
GOAL_PER_SECOND, GOAL_P95_MS = 30_000, 150.0


@dataclass(frozen=True)
class Ingestion:
    """Scalars per second that were acknowledged, and so on the disk.

    Attributes:
        clients: how many reported at once.
        scalars: how many were acknowledged.
        seconds: from the first call to the last answer.
        median_ms: of a call, as a client sees it.
    """

    clients: int
    scalars: int
    seconds: float
    median_ms: float

    @property
    def per_second(self) -> float:
        """Scalars per second."""
        return self.scalars / self.seconds


@dataclass(frozen=True)
class Chart:
    """How long one chart takes, as a client sees it.

    Attributes:
        points: of the series.
        key: what lies on the x axis.
        p50_ms: median.
        p95_ms: 95 % are faster.
    """

    points: int
    key: str
    p50_ms: float
    p95_ms: float


def ingestion(clients: int, seconds: float = SECONDS) -> Ingestion:
    """Measure how many scalars a new server takes in from so many clients, each with a task of its own.

    The clients are processes on the same machine, which send bodies that were made before.
    """
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as port:
        client = Client(port, folder=Path(folder))
        tasks = [client.call("tasks.create", name="bench", type="training")["id"] for _ in range(clients)]
        context = multiprocessing.get_context("spawn")
        ready = context.Barrier(clients)
        with context.Pool(clients, _set_barrier, [ready]) as pool:
            batches = round(seconds * BATCHES_PER_SECOND / clients)
            work = [(port, client.token, task, seconds, batches) for task in tasks]
            reports = pool.starmap(_report, work, chunksize=1)
        stored = sum(_stored(Client(port, client.token), task) for task in tasks)
    scalars = sum(len(times) for _, _, times in reports) * EVENTS_PER_BATCH
    if stored != scalars:
        raise RuntimeError(f"{scalars} scalars were acknowledged, {stored} are there")
    span = max(end for _, end, _ in reports) - min(start for start, _, _ in reports)
    median = statistics.median(each for _, _, times in reports for each in times)
    return Ingestion(clients, scalars, span, median * 1000)


def _stored(client: Client, task: str) -> int:
    """Return how many scalars a task says it got."""
    metrics = client.call("tasks.get_by_id", task=task)["task"]["last_metrics"]
    return sum(cell["count"] for variants in metrics.values() for cell in variants.values())


def _set_barrier(barrier: object) -> None:
    globals()["_barrier"] = barrier


def _report(
    port: int, token: str, task: str, seconds: float, batches: int
) -> tuple[float, float, list[float]]:
    """Report as fast as answers come; return start, end (on the clock of all processes) and the time of each call."""
    steps = EVENTS_PER_BATCH // SERIES_PER_CLIENT
    bodies = [_body(task, number * steps, steps) for number in range(batches)]
    client, times = Client(port, token), []
    globals()["_barrier"].wait()
    client.send("debug.ping", b"")
    start = time.time()
    number = 0
    while time.time() - start < seconds:
        begin = time.perf_counter()
        # When the bodies are used up they come again: their iterations are overwritten, which costs the server more.
        answer = client.send("events.add_batch", bodies[number % len(bodies)])
        times.append(time.perf_counter() - begin)
        number += 1
        if b'"added":%d,' % EVENTS_PER_BATCH not in answer:
            raise RuntimeError(answer[:300])
    return start, time.time(), times


def _body(task: str, first: int, steps: int) -> bytes:
    """Return a batch as the SDK sends it: so many steps of each series."""
    return "\n".join(
        f'{{"timestamp": {1_700_000_000_000 + step * 100}, "type": "training_stats_scalar", "task": "{task}", '
        f'"iter": {step}, "metric": "metric {series}", "variant": "train", "value": {step * 0.001 + series}, '
        '"allow_locked": false, "model_event": false, "method": "get"}'
        for step in range(first, first + steps)
        for series in range(SERIES_PER_CLIENT)
    ).encode()


def charts(sizes: tuple[int, ...] = POINTS, queries: int = QUERIES) -> list[Chart]:
    """Measure the chart query of one series of each size, over iterations and over time."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as port:
            client = Client(port, folder=folder)
            tasks = [client.call("tasks.create", name="bench", type="training")["id"] for _ in sizes]
        for task, points in zip(tasks, sizes, strict=True):
            _fill(folder / "server.sqlite", task, points)
        with serving(folder) as port:
            client = Client(port, folder=folder)
            for task, points in zip(tasks, sizes, strict=True):
                for key in ("iter", "timestamp"):
                    found.append(_chart(client, task, points, key, queries))
    return found


def _fill(path: Path, task: str, points: int) -> None:
    """Put a series of so many points into a database, blocks and all, as if it had been reported."""
    from stepwise_server.store.database import Database, Transaction
    from stepwise_server.store.folding import fold
    from stepwise_server.store.series import series_ids

    database = Database(path)

    def fill(tx: Transaction) -> None:
        series = series_ids(tx, task, [("loss", "train")])["loss", "train"]
        tx.execute(
            """INSERT INTO scalars WITH RECURSIVE step (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM step WHERE i < ?2)
               SELECT ?1, i, 1.0 / (1 + i), 1700000000000 + 100 * i FROM step""",
            [series, points - 1],
        )
        last = 1_700_000_000_000 + 100 * (points - 1)
        tx.execute(
            """UPDATE series SET count = ?1, points = ?1, first_timestamp = 1700000000000, last_timestamp = ?2
               WHERE id = ?3""",
            [points, last, series],
        )
        if points >= 10_000:
            fold(tx, series, points, None, None)

    database.write(fill)
    database.close()


def _chart(client: Client, task: str, points: int, key: str, queries: int) -> Chart:
    body = json.dumps({"task": task, "key": key}).encode()
    times = []
    for _ in range(queries):
        begin = time.perf_counter()
        answer = client.send("events.scalar_metrics_iter_histogram", body)
        times.append((time.perf_counter() - begin) * 1000)
        if b'"result_code":200' not in answer:
            raise RuntimeError(answer[:300])
    return Chart(points, key, statistics.median(times), sorted(times)[round(0.95 * (len(times) - 1))])


def table(taken: list[Ingestion], drawn: list[Chart]) -> str:
    """Return the figures as a page."""
    lines = [
        f"{date.today()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}. "
        f"Batches of {EVENTS_PER_BATCH:,} scalars of {SERIES_PER_CLIENT} series, "
        "clients on the same machine; each answer means that the batch is on the disk.",
        "",
        f"| clients | scalars/s (goal {GOAL_PER_SECOND:,}) | ms per call |",
        "|---:|---:|---:|",
        *(f"| {each.clients} | {each.per_second:,.0f} | {each.median_ms:.1f} |" for each in taken),
        "",
        f"| points | x axis | p50 ms | p95 ms (goal {GOAL_P95_MS:.0f}) |",
        "|---:|---|---:|---:|",
        *(f"| {each.points:,} | {each.key} | {each.p50_ms:.1f} | {each.p95_ms:.1f} |" for each in drawn),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of reporting, for each number of clients"
    )
    parser.add_argument("--most-points", type=int, default=POINTS[-1], help="leave out charts of more points")
    arguments = parser.parse_args()
    taken = []
    for clients in CLIENTS:
        taken.append(ingestion(clients, arguments.seconds))
        print(f"{clients} clients: {taken[-1].per_second:,.0f} scalars/s", file=sys.stderr)
    drawn = charts(tuple(points for points in POINTS if points <= arguments.most_points))
    print(table(taken, drawn))


if __name__ == "__main__":
    main()
