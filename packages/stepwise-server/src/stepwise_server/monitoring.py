"""What is counted of a running server, shown at /metrics in Prometheus' text format; and the log of requests."""

import bisect
import os
import time
from collections import Counter
from pathlib import Path

from loguru import logger as log
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwise_server.services import Services
from stepwise_server.store.database import Transaction

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the latency histogram, in seconds."""

REQUEST_ID = "stepwise.request"
ENDPOINT = "stepwise.endpoint"
EVENTS = "stepwise.events"
"""Keys of a request's scope: its id, the endpoint that answers it, the events that it brought."""


class Monitor:
    """Counts the requests of an application, and logs those that failed; all of them if it is told to.

    Args:
        app: the application.
        services: the server.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._verbose = app, services.settings.log_requests
        self.requests: Counter[tuple[str, int]] = Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds, self.events, self._started = 0.0, 0, time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = scope[REQUEST_ID] = os.urandom(16).hex()
        started, status = time.perf_counter(), 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", identifier.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = scope.get(ENDPOINT) or ("files" if scope["path"].startswith("/files") else "other")
        self.requests[endpoint, status] += 1
        self.buckets[bisect.bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.events += scope.get(EVENTS, 0)
        if self._verbose or status >= 500 or status in (401, 403):
            facts = {"request": scope[REQUEST_ID], "endpoint": endpoint, "status": status}
            level = "WARNING" if status >= 500 else "INFO"
            # Percent-encoded, as it came: no path can begin a line of its own.
            path = scope.get("raw_path", b"?")[:200].decode("latin-1")
            address = (scope.get("client") or "?")[0]
            bound = log.bind(**facts, ms=round(seconds * 1000, 2))
            bound.log(level, "{} {} from {}", scope["method"], path, address)

    def text(self, services: Services) -> str:
        """Return all figures in Prometheus' text format."""
        lines = ["# TYPE stepwise_requests_total counter"]
        counted = list(self.requests.items())  # a copy: the event loop goes on counting
        for (endpoint, code), count in sorted(counted):
            lines.append(f'stepwise_requests_total{{endpoint="{endpoint}",code="{code}"}} {count}')
        lines.append("# TYPE stepwise_request_seconds histogram")
        total = 0
        for end, count in zip((*BUCKETS, "+Inf"), self.buckets, strict=True):
            total += count
            lines.append(f'stepwise_request_seconds_bucket{{le="{end}"}} {total}')
        lines += [
            f"stepwise_request_seconds_sum {self.seconds:.6f}",
            f"stepwise_request_seconds_count {total}",
        ]
        lines += _one("events_total", "counter", self.events)
        lines += _one("uptime_seconds", "gauge", round(time.monotonic() - self._started, 3))
        lines += _one("resident_memory_bytes", "gauge", _resident())
        lines += _one("writes_waiting", "gauge", services.database.waiting)
        for name, suffix in (("database", ""), ("write_ahead_log", "-wal")):
            lines += _one(f"{name}_bytes", "gauge", _size(Path(f"{services.database.path}{suffix}")))
        return "\n".join([*lines, *services.database.read(_stored), ""])


def _one(name: str, kind: str, value: float) -> list[str]:
    return [f"# TYPE stepwise_{name} {kind}", f"stepwise_{name} {value}"]


def _stored(tx: Transaction) -> list[str]:
    """Return the figures that the database knows."""
    count, size = tx.one("SELECT count(*), coalesce(sum(size), 0) FROM files") or (0, 0)
    lines = [*_one("files", "gauge", count), *_one("files_bytes", "gauge", size)]
    lines.append("# TYPE stepwise_tasks gauge")
    for status, number in tx.execute("SELECT status, count(*) FROM tasks GROUP BY status"):
        lines.append(f'stepwise_tasks{{status="{status}"}} {number}')
    lines.append("# TYPE stepwise_queue_tasks gauge")
    queues = """SELECT q.name, count(e.task) FROM queues q LEFT JOIN queue_entries e ON e.queue = q.id
                GROUP BY q.id ORDER BY q.name"""
    for name, number in tx.execute(queues):
        label = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'stepwise_queue_tasks{{queue="{label}"}} {number}')
    return lines


def _resident() -> int:
    """Return the bytes of memory that this process occupies; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
