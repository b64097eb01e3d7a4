"""Short ways to make and look at tasks and models, for the tests of what changes them."""

from typing import Any

import pytest

from stepwise_server.testing import ApiFailure, LocalServer

ODD = "a.b/c$d%e _ü\u0000\U0001f600"
"""A key with everything that a path syntax could trip over."""


def new_task(server: LocalServer, status: str = "created", **fields: Any) -> str:
    """Add a task, brought to a status by force."""
    task: str = server.api("tasks.create", **{"name": "a task", "type": "training", **fields})["id"]
    if status != "created":
        server.api("tasks.edit", task=task, status=status, force=True)
    return task


def stored(server: LocalServer, task: str) -> dict[str, Any]:
    """Return a task as clients see it."""
    found: dict[str, Any] = server.api("tasks.get_by_id", task=task)["task"]
    return found


def new_model(server: LocalServer, **fields: Any) -> str:
    """Add a model that is not published."""
    params = {"name": "a model", "uri": "http://there/file", "ready": False, **fields}
    model: str = server.api("models.create", **params)["id"]
    return model


def stored_model(server: LocalServer, model: str) -> dict[str, Any]:
    """Return a model as clients see it."""
    found: dict[str, Any] = server.api("models.get_by_id", model=model)["model"]
    return found


def fails(server: LocalServer, call: str, code: tuple[int, int], **params: Any) -> str:
    """Check that a call is refused with this code and subcode; return the message."""
    with pytest.raises(ApiFailure) as failure:
        server.api(call, **params)
    assert (failure.value.code, failure.value.subcode) == code
    return failure.value.message
