"""What tasks.create, tasks.edit and their narrower relatives store, replace and merge."""

from typing import Any

import pytest
from task_tools import ODD, fails, new_task, stored

from stepwise_server.testing import LocalServer


def test_a_draft_with_defaults(server: LocalServer) -> None:
    task = stored(server, new_task(server, name="  padded name ", comment=None, input={"view": {}}))
    assert task["name"] == "padded name"
    assert (task["status"], task["status_message"], task["last_iteration"]) == ("created", "", 0)
    assert task["created"] == task["last_update"] == task["last_change"]
    assert task["last_changed_by"] == task["user"] == "__tests__"
    assert task["script"] == {"binary": "python", "repository": "", "entry_point": "", "working_dir": ""}
    assert task["execution"]["artifacts"] == [] and task["execution"]["model_labels"] == {}
    assert task["models"] == {"input": [], "output": []}
    assert [task[name] for name in ("hyperparams", "configuration", "runtime", "container")] == [{}] * 4
    assert "project" not in task and "comment" not in task


def test_create_takes_what_edit_takes(server: LocalServer) -> None:
    project = server.api("projects.create", name="of create")["id"]
    parent = new_task(server)
    task = stored(
        server,
        new_task(
            server,
            tags=["b", "a", "b"],
            system_tags=["development"],
            project=project,
            parent=parent,
            output_dest="http://files",
            script={"diff": " x ", "entry_point": " train.py "},
            execution={"model_labels": {"cat": 1}, "parameters": {ODD: [1]}},
            container={"image": "python:3", "arguments": None},
            hyperparams={" Args ": {ODD: {"value": "1"}}},
            configuration={ODD: {"value": "x", "type": "json"}},
            runtime={ODD: None},
        ),
    )
    assert (task["tags"], task["project"], task["parent"]) == (["a", "b"], project, parent)
    assert task["output"] == {"destination": "http://files"}
    assert (task["script"]["diff"], task["script"]["entry_point"]) == (" x ", "train.py")
    assert task["script"]["binary"] == "python" and task["execution"]["test_split"] == 0
    assert task["execution"]["parameters"] == {ODD: [1]}
    assert task["container"] == {"image": "python:3"}
    assert task["hyperparams"] == {"Args": {ODD: {"section": "Args", "name": ODD, "value": "1"}}}
    assert task["configuration"] == {ODD: {"name": ODD, "value": "x", "type": "json"}}
    assert task["runtime"] == {ODD: None}


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ((400, 11), {"name": None}),
        ((400, 11), {"type": None}),
        ((400, 800), {"name": " ab "}),
        ((400, 12), {"type": "play"}),
        ((400, 12), {"name": 5}),
        ((400, 12), {"tags": ["a", 1]}),
        ((400, 16), {"project": "0" * 32}),
        ((400, 16), {"parent": "0" * 32}),
        ((400, 12), {"hyperparams": {"Args": {"lr": {"value": 0.1}}}}),
        ((400, 12), {"hyperparams": {" ": {"lr": {"value": "0.1"}}}}),
        ((400, 12), {"hyperparams": {"Args": {"": {"value": "0.1"}}}}),
        ((400, 12), {"hyperparams": {"Args": 1}}),
        ((400, 12), {"configuration": {"": {"value": "0.1"}}}),
        ((400, 12), {"configuration": [{"name": "x"}]}),
        ((400, 12), {"container": {"image": 1}}),
        ((400, 12), {"script": {"diff": 1}}),
        ((400, 12), {"script": {"requirements": "torch"}}),
        ((400, 12), {"execution": {"model_labels": {"a": 1, "b": 1}}}),
        ((400, 12), {"execution": {"model_labels": {"a": "1"}}}),
        ((400, 12), {"execution": {"artifacts": [{"key": "a"}]}}),
        ((400, 12), {"execution": {"artifacts": [{"key": "a", "type": "x", "timestamp": 1.5}]}}),
        ((400, 12), {"execution": {"artifacts": [{"key": "a", "type": "x", "mode": "both"}]}}),
        ((400, 12), {"models": {"input": [{"name": "no model"}]}}),
        ((400, 12), {"runtime": []}),
    ],
)
def test_what_create_refuses(server: LocalServer, code: tuple[int, int], fields: dict[str, Any]) -> None:
    given = {"name": "a task", "type": "training", **fields}
    fails(server, "tasks.create", code, **given)
    fails(server, "tasks.validate", code, **given)
    if code != (400, 11):
        fails(server, "tasks.edit", code, task=new_task(server), force=True, **fields)


def test_too_deep(server: LocalServer) -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"x": deep}
    task = new_task(server)
    fails(server, "tasks.edit", (400, 12), task=task, runtime=deep)
    fails(server, "tasks.set_requirements", (400, 12), task=task, requirements=deep)
    assert server.api("tasks.validate", name="a task", type="qc") == {}


def test_script_and_execution_are_merged(server: LocalServer) -> None:
    task = new_task(server, script={"diff": "d", "requirements": {"pip": "x"}})
    server.api("tasks.add_or_update_artifacts", task=task, artifacts=[{"key": "k", "type": "t"}])
    edit = {"script": {"branch": "main", "diff": None}, "execution": {"framework": "torch"}}
    fields = server.api("tasks.edit", task=task, **edit)["fields"]
    after = stored(server, task)
    assert fields["script"] == after["script"] and fields["execution"] == after["execution"]
    assert after["script"]["requirements"] == {"pip": "x"}
    assert (after["script"]["diff"], after["script"]["branch"]) == ("d", "main")
    assert (after["execution"]["framework"], len(after["execution"]["artifacts"])) == ("torch", 1)
    server.api("tasks.edit", task=task, execution={"artifacts": []})
    assert stored(server, task)["execution"]["artifacts"] == []


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        ("runtime", {"a": 1, "b": None}, {"b": None, "c.d": "x"}),
        ("container", {"image": "a", "arguments": "-v"}, {"image": "b"}),
        ("configuration", {"a": {"name": "a", "value": "1"}}, {"b": {"name": "b", "value": "2"}}),
        (
            "hyperparams",
            {"A": {"x": {"section": "A", "name": "x", "value": "1"}}},
            {"B": {"y": {"section": "B", "name": "y", "value": "2"}}},
        ),
        ("tags", ["a", "b"], ["c"]),
        ("system_tags", ["a", "b"], []),
    ],
)
def test_replaced_as_a_whole(server: LocalServer, field: str, first: Any, second: Any) -> None:
    task = new_task(server)
    for value in (first, second):
        server.api("tasks.edit", task=task, **{field: value})
        assert stored(server, task)[field] == value


def test_models_are_merged_by_list(server: LocalServer) -> None:
    entry = {"name": "w", "model": "0" * 32}
    task = new_task(server, models={"input": [entry], "output": [entry]})
    server.api("tasks.edit", task=task, models={"input": []})
    models = stored(server, task)["models"]
    assert models["input"] == []
    assert models["output"] == [{**entry, "updated": models["output"][0]["updated"]}]


def test_output_has_a_destination_and_an_error(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.edit", task=task, output_dest="http://files", output={"result": "ignored"})
    answer = server.api("tasks.update", task=task, output__error="it broke")
    assert answer["fields"]["output"] == {"destination": "http://files", "error": "it broke"}
    assert stored(server, task)["output"] == answer["fields"]["output"]


def test_editing_needs_a_draft_or_force(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.started", task=task)
    fails(server, "tasks.edit", (400, 110), task=task, name="another")
    answer = server.api("tasks.edit", task=task, name=" another ", force=True)
    assert (answer["updated"], answer["fields"]["name"]) == (1, "another")
    assert server.api("tasks.edit", task=task, force=True, method="get") == {"updated": 0, "fields": {}}


def test_labels_do_not_make_a_task_newer(server: LocalServer) -> None:
    project = server.api("projects.create", name="of labels")["id"]
    task = new_task(server)
    for label in ({"tags": ["x"]}, {"name": "renamed"}, {"comment": "c"}, {"project": project}):
        before = stored(server, task)
        server.api("tasks.edit", task=task, **label)
        after = stored(server, task)
        assert after["last_update"] == before["last_update"] and after["last_change"] > before["last_change"]
    server.api("tasks.edit", task=task, runtime={"x": 1})
    assert stored(server, task)["last_update"] > before["last_update"]
    assert server.api("projects.get_by_id", project=project)["project"]["last_update"] >= after["last_change"]


def test_update_works_in_any_status(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.started", task=task)
    given = {"name": "new name", "tags": ["x"], "comment": "c", "status_message": "m", "type": "qc"}
    fields = server.api("tasks.update", task=task, created="2020-01-02 03:04", **given)["fields"]
    after = stored(server, task)
    assert fields["created"] == after["created"] == "2020-01-02T03:04:00.000000+00:00"
    assert (after["name"], after["tags"], after["comment"]) == ("new name", ["x"], "c")
    assert (after["status_message"], after["type"]) == ("m", "training")
    fails(server, "tasks.update", (400, 12), task=task, created="yesterdayish")


def test_update_batch(server: LocalServer) -> None:
    tasks = [new_task(server) for _ in range(3)]
    token = server.api("auth.login")["token"]
    lines = [{"task": each, "comment": each} for each in tasks]
    answer = server.call("tasks.update_batch", lines, {"Authorization": f"Bearer {token}"})
    assert answer == {"updated": 3}
    assert [stored(server, each)["comment"] for each in tasks] == tasks
    fails(server, "tasks.update_batch", (400, 101), task="0" * 32)


def test_requirements_and_runtime_by_key(server: LocalServer) -> None:
    task = new_task(server, script={"diff": "d"})
    server.api("tasks.started", task=task)
    answer = server.api("tasks.set_requirements", task=task, requirements={"pip": ["a", "b"], "conda": ""})
    assert answer["fields"]["script.requirements"] == {"pip": ["a", "b"], "conda": ""}
    assert stored(server, task)["script"]["diff"] == "d"
    fails(server, "tasks.set_requirements", (400, 11), task=task)
    server.api("tasks.edit_runtime", task=task, add_or_update={"a": 1, ODD: None})
    assert server.api("tasks.edit_runtime", task=task, remove=["a", "b"]) == {"updated": 1}
    assert stored(server, task)["runtime"] == {ODD: None}
    assert server.api("tasks.edit_runtime", task=task, remove=["a"]) == {"updated": 0}


def test_a_huge_value(server: LocalServer) -> None:
    task = new_task(server)
    text = 'ü\n"\\' * 1_000_000
    server.api("tasks.edit", task=task, configuration={"big": {"value": text}})
    assert stored(server, task)["configuration"]["big"]["value"] == text
