"""Hyperparameters, configurations, artifacts and models of tasks."""

import json
from typing import Any

import pytest
from task_tools import ODD, fails, new_task, stored

from stepwise_server.testing import LocalServer


def names(server: LocalServer, task: str) -> list[tuple[str, str, str]]:
    """Return section, name and value of a task's hyperparameters, in the order of the answer."""
    found = server.api("tasks.get_hyper_params", tasks=[task])["params"]
    assert [each["task"] for each in found] == [task]
    return [(item["section"], item["name"], item["value"]) for item in found[0]["hyperparams"]]


def parameter(section: str, name: str, value: str) -> dict[str, str]:
    return {"section": section, "name": name, "value": value}


@pytest.mark.parametrize(
    ("replaced", "expected"),
    [
        (None, [("A", "x", "9"), ("A", "y", "2"), ("B", "z", "3"), ("C", "n", "8")]),
        ("none", [("A", "x", "9"), ("A", "y", "2"), ("B", "z", "3"), ("C", "n", "8")]),
        ("section", [("A", "x", "9"), ("B", "z", "3"), ("C", "n", "8")]),
        ("all", [("A", "x", "9"), ("C", "n", "8")]),
    ],
)
def test_what_is_replaced(server: LocalServer, replaced: str | None, expected: list[Any]) -> None:
    task = new_task(server)
    items = [parameter("B", "z", "3"), parameter("A", "y", "2"), parameter("A", "x", "1")]
    assert server.api("tasks.edit_hyper_params", task=task, hyperparams=items) == {"updated": 1}
    items = [parameter(" A ", " x ", "9"), parameter("C", "n", "8")]
    server.api("tasks.edit_hyper_params", task=task, hyperparams=items, replace_hyperparams=replaced)
    assert names(server, task) == expected


def test_hyperparameters_are_deleted_by_name_and_by_section(server: LocalServer) -> None:
    task = new_task(server)
    items = [parameter("A", ODD, "1"), parameter("A", "y", "2"), parameter(ODD, "z", "3")]
    server.api("tasks.edit_hyper_params", task=task, hyperparams=items)
    keys = [{"section": "A", "name": ODD}, {"section": ODD}]
    assert server.api("tasks.delete_hyper_params", task=task, hyperparams=keys) == {"deleted": 1}
    assert names(server, task) == [("A", "y", "2")]
    assert server.api("tasks.delete_hyper_params", task=task, hyperparams=keys) == {"deleted": 0}


@pytest.mark.parametrize(
    ("status", "call", "allowed"),
    [
        ("created", {}, True),
        ("in_progress", {}, False),
        ("in_progress", {"force": True}, True),
        ("queued", {"force": True}, True),
        ("completed", {"force": True}, False),
    ],
)
def test_inputs_belong_to_drafts(server: LocalServer, status: str, call: Any, allowed: bool) -> None:
    task = new_task(server, hyperparams={"A": {"x": {"value": "0"}}}, configuration={"c": {"value": "0"}})
    server.api("tasks.edit", task=task, status=status, force=True)
    calls: dict[str, dict[str, Any]] = {
        "tasks.edit_hyper_params": {"hyperparams": [parameter("A", "x", "1")]},
        "tasks.delete_hyper_params": {"hyperparams": [{"section": "A"}]},
        "tasks.edit_configuration": {"configuration": [{"name": "c", "value": "1"}]},
        "tasks.delete_configuration": {"configuration": ["c"]},
    }
    for name, params in calls.items():
        if allowed:
            assert list(server.api(name, task=task, **params, **call).values()) == [1]
        else:
            fails(server, name, (400, 110), task=task, **params, **call)


def test_user_properties_may_change_in_any_status(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.edit", task=task, status="published", force=True)
    before = stored(server, task)
    item = parameter("Properties", "version", "1.0.0")
    server.api("tasks.edit_hyper_params", task=task, hyperparams=[item], replace_hyperparams="section")
    after = stored(server, task)
    assert after["hyperparams"] == {"properties": {"version": parameter("properties", "version", "1.0.0")}}
    assert after["last_update"] == before["last_update"] and after["last_change"] > before["last_change"]
    call = {"hyperparams": [item, parameter("A", "x", "1")]}
    fails(server, "tasks.edit_hyper_params", (400, 110), task=task, **call)
    call = {"hyperparams": [item], "replace_hyperparams": "all"}
    fails(server, "tasks.edit_hyper_params", (400, 110), task=task, **call)
    server.api("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "PROPERTIES"}])
    assert stored(server, task)["hyperparams"] == {}


@pytest.mark.parametrize(
    "params",
    [
        {"hyperparams": [parameter("", "x", "1")]},
        {"hyperparams": [parameter("A", " ", "1")]},
        {"hyperparams": [{"section": "A", "name": "x", "value": 5}]},
        {"hyperparams": [parameter("A", "x", "1")], "replace_hyperparams": "most"},
        {"hyperparams": "A"},
        {"hyperparams": ["A"]},
    ],
)
def test_bad_hyperparameters(server: LocalServer, params: Any) -> None:
    fails(server, "tasks.edit_hyper_params", (400, 12), task=new_task(server), **params)


def test_configurations(server: LocalServer) -> None:
    task, empty = new_task(server), new_task(server)
    items = [{"name": f" {ODD}", "value": "1", "type": "json"}, {"name": "a", "value": "2"}]
    assert server.api("tasks.edit_configuration", task=task, configuration=items) == {"updated": 1}
    found = server.api("tasks.get_configurations", tasks=[task], names=[ODD])["configurations"]
    assert found == [{"task": task, "configuration": [{"name": ODD, "value": "1", "type": "json"}]}]
    found = server.api("tasks.get_configurations", tasks=[task, empty])["configurations"]
    assert [[item["name"] for item in each["configuration"]] for each in found] == [["a", ODD], []]
    new = [{"name": "n", "value": "3"}]
    server.api("tasks.edit_configuration", task=task, configuration=new, replace_configuration=True)
    assert stored(server, task)["configuration"] == {"n": {"name": "n", "value": "3"}}
    assert server.api("tasks.delete_configuration", task=task, configuration=["n"]) == {"deleted": 1}
    assert server.api("tasks.delete_configuration", task=task, configuration=["n"]) == {"deleted": 0}


def test_configuration_names(server: LocalServer) -> None:
    """The SDK's class for this answer is wrong (it wants one object): nobody but the web page calls it."""
    task = new_task(server, configuration={"b": {"value": "1"}, "a": {"value": "2"}})
    empty = new_task(server)
    headers = {"Authorization": f"Bearer {server.api('auth.login')['token']}"}
    for skip_empty in (True, False):
        body = json.dumps({"tasks": [task, empty], "skip_empty": skip_empty}).encode()
        _, answer = LocalServer.request(server, "/tasks.get_configuration_names", body, headers)
        expected = [{"task": task, "names": ["a", "b"]}]
        if not skip_empty:
            expected.append({"task": empty, "names": []})
        assert json.loads(answer)["data"] == {"configurations": expected}


def test_artifacts_are_known_by_key_and_mode(server: LocalServer) -> None:
    task = new_task(server)
    big = {"key": ODD, "type": "x", "content_size": 2**40, "timestamp": 2**40, "uri": "http://there"}
    given = [big, {"key": "b", "type": "x", "mode": "input"}, {"key": "b", "type": "x"}]
    assert server.api("tasks.add_or_update_artifacts", task=task, artifacts=given) == {"updated": 1}
    again = {"key": "b", "type": "y", "type_data": {"preview": "p", "content_type": None}}
    server.api("tasks.add_or_update_artifacts", task=task, artifacts=[again], force=True)
    assert stored(server, task)["execution"]["artifacts"] == [
        {**big, "mode": "output"},
        {"key": "b", "type": "x", "mode": "input"},
        {"key": "b", "type": "y", "mode": "output", "type_data": {"preview": "p"}},
    ]
    gone = [{"key": "b"}, {"key": ODD, "mode": "input"}]
    assert server.api("tasks.delete_artifacts", task=task, artifacts=gone) == {"deleted": 1}
    kept = stored(server, task)["execution"]["artifacts"]
    assert [(each["key"], each["mode"]) for each in kept] == [(ODD, "output"), ("b", "input")]
    assert server.api("tasks.delete_artifacts", task=task, artifacts=gone) == {"deleted": 0}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("status", ["created", "queued", "in_progress", "completed", "stopped", "published"])
def test_outputs_do_not_change_after_the_end(server: LocalServer, status: str, force: bool) -> None:
    task = new_task(server)
    model = server.api("models.create", uri="http://there", name="a model", ready=False)["id"]
    server.api("tasks.edit", task=task, status=status, force=True)
    calls: dict[str, dict[str, Any]] = {
        "tasks.add_or_update_artifacts": {"artifacts": [{"key": "k", "type": "t"}]},
        "tasks.delete_artifacts": {"artifacts": [{"key": "k"}]},
        "tasks.add_or_update_model": {"name": "w", "model": model, "type": "output"},
        "tasks.delete_models": {"models": [{"name": "w", "type": "output"}]},
    }
    for call, params in calls.items():
        if status in ("created", "queued", "in_progress"):
            assert list(server.api(call, task=task, force=force, **params).values()) == [1]
        else:
            fails(server, call, (400, 110), task=task, force=force, **params)


@pytest.mark.parametrize("artifacts", [[], [{"type": "t"}], [{"key": " ", "type": "t"}], [5], {"key": "k"}])
def test_bad_artifacts(server: LocalServer, artifacts: Any) -> None:
    fails(server, "tasks.add_or_update_artifacts", (400, 12), task=new_task(server), artifacts=artifacts)


def test_models_of_a_task(server: LocalServer) -> None:
    task = new_task(server)
    first, second = (
        server.api("models.create", uri=f"http://{n}", name="a model", ready=False)["id"] for n in range(2)
    )
    add = "tasks.add_or_update_model"
    server.api(add, task=task, name="w", model=first, type="output", iteration=7)
    server.api(add, task=task, name="v", model=first, type="output", iteration=3)
    server.api(add, task=task, name="w", model=second, type="output")
    server.api(add, task=task, name="w", model=second, type="input")
    after = stored(server, task)
    assert [(each["name"], each["model"]) for each in after["models"]["output"]] == [
        ("w", second),
        ("v", first),
    ]
    assert [each["model"] for each in after["models"]["input"]] == [second]
    assert after["last_iteration"] == 7
    assert after["models"]["output"][0]["updated"] > after["models"]["output"][1]["updated"]
    fails(server, add, (400, 201), task=task, name="w", model="0" * 32, type="output")
    fails(server, add, (400, 12), task=task, name="w", model=first, type="both")
    given = [{"name": "w", "type": "input"}, {"name": "none", "type": "output"}]
    assert server.api("tasks.delete_models", task=task, models=given) == {"updated": 1}
    assert stored(server, task)["models"]["input"] == []
    assert server.api("tasks.delete_models", task=task, models=given) == {"updated": 0}
