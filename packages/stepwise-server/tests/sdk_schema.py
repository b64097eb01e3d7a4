"""The SDK's own response classes, as a check of every answer that a test gets."""

import importlib
import inspect
from functools import cache
from typing import Any

from clearml.backend_api.session.response import Response, ResponseMeta

SERVICES = ["auth", "events", "models", "organization", "pipelines", "projects", "queues", "tasks", "workers"]

UNLIKE = {"tasks.get_configuration_names"}
"""The class declares an object where the web app, the only caller, reads a list."""


@cache
def response_classes() -> dict[str, type[Response]]:
    """Return the newest response class of every endpoint that the SDK knows."""
    found: dict[str, type[Response]] = {}
    for service in SERVICES:
        module = importlib.import_module(f"clearml.backend_api.services.v2_23.{service}")
        for _, each in inspect.getmembers(module, inspect.isclass):
            if issubclass(each, Response) and each is not Response and getattr(each, "_action", ""):
                found[f"{each._service}.{each._action}"] = each
    return found


def check(endpoint: str, answer: dict[str, Any]) -> None:
    """Parse an answer as the SDK does; it raises where the SDK would lose the response."""
    ResponseMeta(**answer["meta"])
    assert isinstance(answer["data"], dict)
    known = response_classes().get(endpoint)
    if known is not None and endpoint not in UNLIKE and answer["meta"]["result_code"] == 200:
        known(**answer["data"])
