"""The models service."""

import json
from typing import Any

import pytest
from task_tools import ODD, fails, new_model, new_task, stored_model

from stepwise_server.store import metrics
from stepwise_server.testing import LocalServer


def test_create(server: LocalServer) -> None:
    answer = server.api("models.create", name=" a model ", uri="http://there")
    assert answer["created"] is True
    model = stored_model(server, answer["id"])
    assert (model["name"], model["ready"], model["uri"]) == ("a model", True, "http://there")
    assert (model["labels"], model["design"], model["metadata"], model["tags"]) == ({}, {}, {}, [])
    assert model["created"] == model["last_update"] == model["last_change"]
    given = {"labels": {"cat": 1}, "design": {ODD: [1]}, "framework": "PyTorch", "tags": ["b", "a"]}
    entry = {"key": ODD, "type": "int", "value": "1"}
    model = stored_model(
        server, new_model(server, **given, metadata=[entry], public=False, ui_cache={"x": 1})
    )
    assert model["ready"] is False and model["metadata"] == {ODD: entry}
    assert {name: model[name] for name in given} == {**given, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ((400, 11), {"name": None}),
        ((400, 11), {"uri": None}),
        ((400, 800), {"name": "  a "}),
        ((400, 12), {"name": ["a"]}),
        ((400, 12), {"labels": {"a": 1, "b": 1}}),
        ((400, 12), {"labels": {"a": 1.5}}),
        ((400, 12), {"design": "x"}),
        ((400, 12), {"ready": "maybe"}),
        ((400, 12), {"metadata": [{"value": "1"}]}),
        ((400, 12), {"metadata": {"a": {"value": 1}}}),
        ((400, 12), {"metadata": "x"}),
        ((400, 16), {"project": "0" * 32}),
        ((400, 16), {"task": "0" * 32}),
        ((400, 16), {"parent": "0" * 32}),
    ],
)
def test_what_create_refuses(server: LocalServer, code: tuple[int, int], fields: dict[str, Any]) -> None:
    fails(server, "models.create", code, **{"name": "a model", "uri": "http://there", **fields})


def test_edit(server: LocalServer) -> None:
    task = new_task(server)
    model = new_model(server, uri="http://there/uploading_file")
    edit = {
        "uri": "http://there/weights.pt",
        "name": "weights",
        "comment": "c",
        "tags": [],
        "framework": "PyTorch",
        "design": {"design": ""},
        "labels": {},
        "task": task,
        "iteration": 12,
    }
    answer = server.api("models.edit", model=model, **edit)
    after = stored_model(server, model)
    assert answer["updated"] == 1 and answer["fields"]["uri"] == after["uri"] == "http://there/weights.pt"
    assert (after["task"], after["design"], after["framework"]) == (task, {"design": ""}, "PyTorch")
    assert server.api("tasks.get_by_id", task=task)["task"]["last_iteration"] == 12
    server.api("models.edit", model=model, iteration=3)
    assert server.api("tasks.get_by_id", task=task)["task"]["last_iteration"] == 12
    assert server.api("models.edit", model=model) == {"updated": 0, "fields": {}}


def test_a_published_model_keeps_what_it_is(server: LocalServer) -> None:
    model = new_model(server, ready=True, labels={"a": 1})
    for change in (
        {"uri": "http://x"},
        {"labels": {}},
        {"framework": "x"},
        {"design": {"a": 1}},
        {"ready": False},
    ):
        fails(server, "models.edit", (400, 203), model=model, **change)
    same: dict[str, Any] = {"uri": "http://there/file", "labels": {"a": 1}, "ready": True}
    given: dict[str, Any] = {"name": "renamed", "tags": ["x"], "comment": "c", "system_tags": ["y"]}
    assert server.api("models.edit", model=model, **same, **given)["updated"] == 1
    after = stored_model(server, model)
    assert {name: after[name] for name in given} == given


def test_labels_do_not_make_a_model_newer(server: LocalServer) -> None:
    model = new_model(server)
    before = stored_model(server, model)
    answer = server.api("models.update", model=model, name="renamed", tags=["x"], framework="ignored")
    after = stored_model(server, model)
    assert answer["fields"]["tags"] == after["tags"] == ["x"] and "framework" not in after
    assert after["last_update"] == before["last_update"] and after["last_change"] > before["last_change"]
    server.api("models.update", model=model, uri="http://other", created="2020-01-01")
    after = stored_model(server, model)
    assert after["last_update"] > before["last_update"] and after["uri"] == "http://other"
    assert after["created"] == "2020-01-01T00:00:00.000000+00:00"


def test_metadata(server: LocalServer) -> None:
    model = new_model(server)
    first, second = ({"key": key, "type": "str", "value": key} for key in (ODD, "b"))
    add = "models.add_or_update_metadata"
    assert server.api(add, model=model, metadata=[first]) == {"updated": 1}
    server.api(add, model=model, metadata=[second])
    assert stored_model(server, model)["metadata"] == {ODD: first, "b": second}
    assert server.api(add, model=model, metadata=[second]) == {"updated": 0}
    assert server.api("models.delete_metadata", model=model, keys=[ODD, "none"]) == {"updated": 1}
    assert stored_model(server, model)["metadata"] == {"b": second}
    server.api(add, model=model, metadata=[first], replace_metadata=True)
    assert stored_model(server, model)["metadata"] == {ODD: first}
    fails(server, add, (400, 11), model=model)


@pytest.mark.parametrize(
    ("status", "params", "published"),
    [
        ("completed", {}, True),
        ("completed", {"publish_task": False}, False),
        ("in_progress", {}, False),
        ("in_progress", {"force_publish_task": True}, True),
        ("published", {}, False),
    ],
)
def test_set_ready(server: LocalServer, status: str, params: dict[str, bool], published: bool) -> None:
    task = new_task(server, status)
    model = new_model(server, task=task)
    answer = server.api("models.set_ready", model=model, **params)
    assert answer["updated"] == 1 and ("published_task" in answer) is published
    if published:
        assert answer["published_task"]["id"] == task
        assert answer["published_task"]["data"]["fields"]["status"] == "published"
    assert stored_model(server, model)["ready"] is True
    fails(server, "models.set_ready", (400, 203), model=model)


def test_publish_many(server: LocalServer) -> None:
    good, ready = new_model(server), new_model(server, ready=True)
    answer = server.api("models.publish_many", ids=[good, ready, "unknown"])
    assert answer["succeeded"] == [{"id": good, "updated": 1}]
    codes = {each["id"]: each["error"]["codes"] for each in answer["failed"]}
    assert codes == {ready: [400, 203], "unknown": [400, 201]}


def test_delete(server: LocalServer) -> None:
    model = new_model(server)
    event = {"metric": "m", "variant": "v", "iter": 1, "model_event": True, "value": 1}
    server.events({**event, "type": "training_stats_scalar", "task": model})
    answer = server.api("models.delete", model=model)
    assert (answer["deleted"], answer["url"]) == (True, "http://there/file")
    fails(server, "models.get_by_id", (400, 201), model=model)
    fails(server, "models.delete", (400, 201), model=model)
    assert server.services.database.read(lambda tx: metrics.last_metrics(tx, [model])) == {model: {}}


def test_a_model_in_use_is_not_deleted_without_force(server: LocalServer) -> None:
    published = new_model(server, ready=True)
    fails(server, "models.delete", (400, 205), model=published)
    made = new_model(server, task=new_task(server))
    fails(server, "models.delete", (400, 206), model=made)
    used = new_model(server)
    user = new_task(server, models={"input": [{"name": "w", "model": used}]})
    fails(server, "models.delete", (400, 205), model=used)
    answer = server.api("models.delete_many", ids=[published, used])
    assert [each["error"]["codes"] for each in answer["failed"]] == [[400, 205]] * 2
    answer = server.api("models.delete_many", ids=[published, made, used], force=True)
    assert [(each["deleted"], each["url"]) for each in answer["succeeded"]] == [
        (True, "http://there/file")
    ] * 3
    assert server.api("tasks.get_by_id", task=user)["task"]["models"]["input"][0]["model"] == used


def test_archive_move_and_tags(server: LocalServer) -> None:
    model = new_model(server, tags=["a"])
    assert server.api("models.archive_many", ids=[model])["succeeded"] == [{"id": model, "archived": True}]
    assert stored_model(server, model)["system_tags"] == ["archived"]
    answer = server.api("models.unarchive_many", ids=[model, "unknown"])
    assert answer["succeeded"] == [{"id": model, "unarchived": True}] and len(answer["failed"]) == 1
    project = server.api("models.move", ids=[model], project_name="of models/below")["project_id"]
    assert server.api("models.update_tags", ids=[model], add_tags=["b"], remove_tags=["a"]) == {"updated": 1}
    after = stored_model(server, model)
    assert (after["project"], after["tags"], after["system_tags"]) == (project, ["b"], [])


def test_frameworks(server: LocalServer) -> None:
    above = server.api("projects.create", name="of frameworks")["id"]
    below = server.api("projects.create", name="of frameworks/below")["id"]
    new_model(server, project=above, framework="torch")
    new_model(server, project=below, framework="jax")
    new_model(server, project=below)
    assert server.api("models.get_frameworks", projects=[above]) == {"frameworks": ["jax", "torch"]}
    assert server.api("models.get_frameworks", projects=[below]) == {"frameworks": ["jax"]}
    assert {"jax", "torch"} <= set(server.api("models.get_frameworks")["frameworks"])


def test_nothing_is_public(server: LocalServer) -> None:
    fails(server, "models.make_public", (400, 1), ids=[])
    fails(server, "models.make_private", (400, 24), ids=["x"])


def old(server: LocalServer, call: str, **params: Any) -> Any:
    """Call an endpoint as a client of API 2.9 does."""
    headers = {"Authorization": f"Bearer {server.api('auth.login')['token']}"}
    _, answer = server.request(f"/v2.9/{call}", json.dumps(params).encode(), headers)
    return json.loads(answer)


def test_older_clients_have_one_output_model(server: LocalServer) -> None:
    task = new_task(server)
    made = old(server, "models.update_for_task", task=task, uri="http://first")["data"]
    assert made["created"] is True
    again = old(server, "models.update_for_task", task=task, uri="http://second", tags=["x"])["data"]
    assert (again["created"], again["id"], again["fields"]["uri"]) == (False, made["id"], "http://second")
    found = old(server, "models.get_by_task_id", task=task)["data"]["model"]
    assert (found["id"], found["task"], found["ready"]) == (made["id"], task, False)
    other = new_model(server)
    old(server, "models.update_for_task", task=task, override_model_id=other)
    assert old(server, "models.get_by_task_id", task=task)["data"]["model"]["id"] == other
    assert old(server, "models.get_by_task_id", task=new_task(server))["meta"]["result_subcode"] == 201
    for call in ("models.update_for_task", "models.get_by_task_id"):
        fails(server, call, (301, 1), task=task)
