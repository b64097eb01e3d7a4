"""Short ways to report and read events, for the tests of the events service."""

from collections.abc import Iterable
from typing import Any

from stepwise_server.testing import LocalServer

SINGLE_VALUE = -(1 << 31)


def new_task(server: LocalServer) -> str:
    """Create a task and return its id."""
    created: str = server.api("tasks.create", name="a task", type="training")["id"]
    return created


def new_model(server: LocalServer, *, ready: bool = False) -> str:
    """Create a model and return its id."""
    created: str = server.api("models.create", name="a model", uri="http://files/m", ready=ready)["id"]
    return created


def task_of(server: LocalServer, task: str) -> dict[str, Any]:
    """Return a task as clients see it."""
    found: dict[str, Any] = server.api("tasks.get_by_id", task=task)["task"]
    return found


def scalar(task: str, iteration: int, value: float, **fields: Any) -> dict[str, Any]:
    """Return a scalar event, of loss/train if nothing else is said."""
    event = {"type": "training_stats_scalar", "task": task, "metric": "loss", "variant": "train"}
    return {**event, "iter": iteration, "value": value, "timestamp": 1_700_000_000_000 + iteration, **fields}


def report(server: LocalServer, task: str, points: Iterable[tuple[int, float]], **fields: Any) -> None:
    """Report points of loss/train, or of another metric, in batches of 5000."""
    events = [scalar(task, iteration, value, **fields) for iteration, value in points]
    for start in range(0, len(events), 5000):
        server.events(*events[start : start + 5000])


def chart(server: LocalServer, task: str, **params: Any) -> tuple[list[Any], list[float]]:
    """Return x and y of the chart of loss/train."""
    curve = server.api("events.scalar_metrics_iter_histogram", task=task, **params)["loss"]["train"]
    return curve["x"], curve["y"]
