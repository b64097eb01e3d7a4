"""get_all, get_all_ex, get_by_id: what is found, in which order, and how it is shown."""

from collections.abc import Callable
from typing import Any

import pytest

from stepwise_server.store import entities, projects
from stepwise_server.testing import ApiFailure, LocalServer

Make = Callable[..., str]


def new_task(server: LocalServer, **fields: Any) -> str:
    """Put a task into the database and return its id."""

    def insert(tx: Any) -> str:
        times = dict.fromkeys(("created", "status_changed", "last_update", "last_change"), tx.now)
        task = {
            "name": "a task",
            "type": "training",
            "status": "created",
            "status_reason": "",
            "status_message": "",
            "user": "__tests__",
            "last_iteration": 0,
            **times,
            **fields,
        }
        return entities.insert(tx, entities.TASK, task)

    return server.services.database.write(insert)


def new_project(server: LocalServer, name: str) -> str:
    return server.services.database.write(lambda tx: projects.find_or_create(tx, "__tests__", name))


def names(server: LocalServer, **params: Any) -> list[str]:
    """Return the names of the tasks that a query finds."""
    found = server.api("tasks.get_all", only_fields=["name"], **params)["tasks"]
    return [task["name"] for task in found]


def test_a_task_comes_back_whole_with_plain_references(server: LocalServer) -> None:
    project = new_project(server, "Plain/references")
    task = new_task(server, project=project, runtime={"a.b/c": None, "n": 1})
    shown = server.api("tasks.get_by_id", task=task)["task"]
    assert shown["project"] == project
    assert shown["company"] == entities.COMPANY
    assert shown["runtime"] == {"a.b/c": None, "n": 1}
    assert shown["models"] == {"input": [], "output": []}
    assert shown["hyperparams"] == shown["last_metrics"] == {}


def test_an_unknown_id_is_the_entitys_error(server: LocalServer) -> None:
    for service, name, subcode in (
        ("tasks", "task", 101),
        ("models", "model", 201),
        ("projects", "project", 401),
        ("queues", "queue", 701),
        ("users", "user", 301),
    ):
        with pytest.raises(ApiFailure) as failure:
            server.api(f"{service}.get_by_id", **{name: "default"})
        assert (failure.value.code, failure.value.subcode) == (400, subcode)


def test_references_become_objects_in_the_ex_flavours(server: LocalServer) -> None:
    project = new_project(server, "Expanded/references")
    parent = new_task(server, name="the parent", project=project)
    task = new_task(server, name="the child", project=project, parent=parent)
    only = ["name", "project.name", "user.name", "parent.project.name", "execution.queue.name", "company"]
    [shown] = server.api("tasks.get_all_ex", id=[task], only_fields=only)["tasks"]
    assert shown == {
        "id": task,
        "name": "the child",
        "project": {"id": project, "name": "Expanded/references"},
        "user": {"id": "__tests__", "name": "Default User"},
        "parent": {"id": parent, "project": {"id": project, "name": "Expanded/references"}},
        "execution": {},
        "company": {"id": entities.COMPANY, "name": "clearml"},
    }
