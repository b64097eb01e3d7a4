"""tasks.clone, reset, delete; archive, tags and places of many."""

from typing import Any
from urllib.parse import quote

import pytest
from task_tools import fails, new_task, stored

from stepwise_server.store import metrics
from stepwise_server.testing import LocalServer

URLS = {"model_urls", "artifact_urls", "event_urls"}


def upload(server: LocalServer, name: str) -> str:
    """Upload a file, and return its URL."""
    token = server.api("auth.login")["token"]
    body = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\nx\r\n--b--\r\n'.encode()
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=b"}
    status, _ = server.request("/files", body, headers)
    assert status == 200
    return f"{server.url}/files/{quote(name)}"


def exists(server: LocalServer, url: str) -> bool:
    """Tell whether an uploaded file is still there, after all that was queued before."""
    server.services.database.write(lambda tx: None)
    headers = {"Authorization": f"Bearer {server.api('auth.login')['token']}"}
    return server.request(url.removeprefix(server.url), None, headers, "GET")[0] == 200


def run_task(server: LocalServer, label: str) -> dict[str, Any]:
    """Return a completed task that has everything a run leaves, each with a file."""
    urls = {kind: upload(server, f"{label}/{kind}") for kind in ("model", "kept", "artifact", "image")}
    task = new_task(
        server,
        output_dest="http://files",
        hyperparams={"Args": {"lr": {"value": "1"}}},
        script={"entry_point": "train.py"},
        tags=["blue"],
        system_tags=["development", "x"],
    )
    server.api("tasks.started", task=task)
    server.api("tasks.edit", task=task, force=True, runtime={"a": 1})
    models = {}
    for name, ready in (("model", False), ("kept", True)):
        params = {"name": f"the {name}", "uri": urls[name], "ready": ready, "task": task}
        models[name] = server.api("models.create", **params)["id"]
        server.api("tasks.add_or_update_model", task=task, name=name, model=models[name], type="output")
    artifacts = [
        {"key": "out", "type": "x", "uri": urls["artifact"]},
        {"key": "in", "type": "x", "mode": "input"},
    ]
    server.api("tasks.add_or_update_artifacts", task=task, artifacts=artifacts)
    event = {"task": task, "metric": "m", "variant": "v", "iter": 3}
    server.events(
        {**event, "type": "training_stats_scalar", "value": 1.0},
        {**event, "type": "training_debug_image", "url": urls["image"], "key": "k"},
    )
    server.api("tasks.completed", task=task)
    return {"task": task, "urls": urls, "models": models}


def test_a_clone_has_the_inputs_only(server: LocalServer) -> None:
    project = server.api("projects.create", name="of clones")["id"]
    run = run_task(server, "clone")
    model = {"name": "w", "model": run["models"]["kept"]}
    server.api("tasks.edit", task=run["task"], force=True, project=project, models={"input": [model]})
    answer = server.api("tasks.clone", task=run["task"])
    assert "new_project" not in answer
    source, copy = stored(server, run["task"]), stored(server, answer["id"])
    for same in ("name", "type", "script", "hyperparams", "tags", "project", "container", "configuration"):
        assert copy[same] == source[same]
    assert (copy["status"], copy["system_tags"], copy["parent"]) == ("created", ["x"], run["task"])
    assert copy["output"] == {"destination": "http://files"} and copy["runtime"] == {}
    assert [each["key"] for each in copy["execution"]["artifacts"]] == ["in"]
    assert (len(copy["models"]["input"]), copy["models"]["output"]) == (1, [])
    assert (copy["last_iteration"], copy["last_metrics"]) == (0, {})
    assert not {"started", "completed", "active_duration"} & copy.keys()
    assert server.api("tasks.clone", task=answer["id"])["id"] != answer["id"]


def test_a_clone_can_be_given_other_inputs(server: LocalServer) -> None:
    source, parent = new_task(server), new_task(server)
    answer = server.api(
        "tasks.clone",
        task=source,
        new_task_name=" the copy ",
        new_task_comment="c",
        new_task_parent=parent,
        new_task_tags=["t"],
        new_task_system_tags=["s"],
        new_task_hyperparams={"A": {"x": {"value": "1"}}},
        new_task_configuration={"c": {"value": "2"}},
        new_task_container={"image": "i", "arguments": None},
        new_task_input_models=[{"name": "w", "model": "0" * 32}],
        execution_overrides={"framework": "torch", "queue": "q"},
        new_project_name="of given/clones",
    )
    copy = stored(server, answer["id"])
    assert answer["new_project"] == {"id": copy["project"], "name": "of given/clones"}
    assert (copy["name"], copy["comment"], copy["parent"]) == ("the copy", "c", parent)
    assert (copy["tags"], copy["system_tags"], copy["container"]) == (["t"], ["s"], {"image": "i"})
    assert copy["hyperparams"]["A"]["x"]["value"] == "1" and copy["configuration"]["c"]["value"] == "2"
    assert copy["execution"]["framework"] == "torch" and "queue" not in copy["execution"]
    assert copy["models"]["input"][0]["model"] == "0" * 32
    fails(server, "tasks.clone", (400, 201), task=answer["id"], validate_references=True)
    fails(server, "tasks.clone", (400, 16), task=source, new_task_project="0" * 32)
    fails(server, "tasks.clone", (400, 800), task=source, new_task_name="x")


def test_the_parent_of_a_clone(server: LocalServer) -> None:
    parent = new_task(server)
    child = new_task(server, parent=parent)
    assert stored(server, server.api("tasks.clone", task=child)["id"])["parent"] == parent
    server.api("tasks.delete", task=parent)
    assert stored(server, child)["parent"] == f"__DELETED__{parent}"
    assert stored(server, server.api("tasks.clone", task=child)["id"])["parent"] == child
    server.api("tasks.edit", task=child, parent=f"__DELETED__{parent}")


@pytest.mark.parametrize("clear_all", [False, True])
def test_reset(server: LocalServer, clear_all: bool) -> None:
    run = run_task(server, f"reset {clear_all}")
    task, urls = run["task"], run["urls"]
    answer = server.api("tasks.reset", task=task, clear_all=clear_all, return_file_urls=True)
    assert (answer["updated"], answer["deleted_models"], answer["dequeued"]) == (1, 1, {"removed": 0})
    assert answer["urls"] == {
        "model_urls": [urls["model"]],
        "artifact_urls": [urls["artifact"]],
        "event_urls": [urls["image"]],
    }
    after = stored(server, task)
    assert (after["status"], after["runtime"], after["last_iteration"]) == ("created", {}, 0)
    assert (after["last_metrics"], after["metric_stats"], after["models"]["output"]) == ({}, {}, [])
    assert not {"started", "completed", "published", "active_duration"} & after.keys()
    assert after["output"] == {"destination": "http://files"} and after["hyperparams"]["Args"]
    assert after["script"]["entry_point"] == ("" if clear_all else "train.py")
    assert [each["key"] for each in after["execution"]["artifacts"]] == ([] if clear_all else ["in"])
    fails(server, "models.get_by_id", (400, 201), model=run["models"]["model"])
    assert server.api("models.get_by_id", model=run["models"]["kept"])["model"]["task"] == task
    there = {kind: exists(server, url) for kind, url in urls.items()}
    assert there == {"model": False, "kept": True, "artifact": False, "image": False}


def test_reset_keeps_what_it_is_told_to(server: LocalServer) -> None:
    run = run_task(server, "reset keeps")
    params = {"delete_output_models": False, "delete_external_artifacts": False}
    answer = server.api("tasks.reset", task=run["task"], **params)
    assert (answer["urls"], answer["deleted_models"]) == (None, 0)
    assert server.api("models.get_by_id", model=run["models"]["model"])["model"]["ready"] is False
    assert all(exists(server, url) for url in run["urls"].values())


def test_reset_takes_a_task_out_of_its_queue(server: LocalServer) -> None:
    task = new_task(server)
    queue = server.api("tasks.enqueue", task=task, queue_name="of resets")["fields"]["execution.queue"]
    assert server.api("tasks.reset", task=task)["dequeued"] == {"removed": 1}
    assert server.api("queues.get_num_entries", queue=queue)["num"] == 0
    assert "queue" not in stored(server, task)["execution"]


def test_delete(server: LocalServer) -> None:
    run = run_task(server, "delete")
    task, urls = run["task"], run["urls"]
    child = new_task(server, parent=task)
    fails(server, "tasks.delete", (400, 123), task=task)
    server.api("tasks.archive_many", ids=[task])
    fails(server, "tasks.delete", (400, 123), task=task)  # a model of it is published
    answer = server.api("tasks.delete", task=task, force=True, return_file_urls=True, move_to_trash=False)
    assert answer["deleted"] is True
    assert (answer["updated_children"], answer["deleted_models"], answer["updated_models"]) == (1, 1, 1)
    assert answer["urls"].keys() == URLS and answer["urls"]["artifact_urls"] == [urls["artifact"]]
    fails(server, "tasks.get_by_id", (400, 101), task=task)
    fails(server, "models.get_by_id", (400, 201), model=run["models"]["model"])
    assert "task" not in server.api("models.get_by_id", model=run["models"]["kept"])["model"]
    assert stored(server, child)["parent"] == f"__DELETED__{task}"
    there = {kind: exists(server, url) for kind, url in urls.items()}
    assert there == {"model": False, "kept": True, "artifact": False, "image": False}
    assert server.services.database.read(lambda tx: metrics.last_metrics(tx, [task])) == {task: {}}


@pytest.mark.parametrize(
    ("status", "archived", "allowed"),
    [
        ("created", False, True),
        ("in_progress", False, False),
        ("completed", False, False),
        ("completed", True, True),
        ("published", True, False),
    ],
)
def test_what_may_be_deleted(server: LocalServer, status: str, archived: bool, allowed: bool) -> None:
    task = new_task(server, status, system_tags=["archived"] if archived else [])
    if not allowed:
        fails(server, "tasks.delete", (400, 123), task=task)
    answer = server.api("tasks.delete", task=task, force=not allowed)
    assert (answer["deleted"], answer["urls"]) == (True, None)


def test_a_published_child_protects_its_parent(server: LocalServer) -> None:
    parent = new_task(server)
    new_task(server, "published", parent=parent)
    fails(server, "tasks.delete", (400, 123), task=parent)


def test_deleted_with_its_steps(server: LocalServer) -> None:
    run = new_task(server, type="controller", system_tags=["pipeline"])
    steps = [new_task(server, "completed", parent=run) for _ in range(2)]
    server.api("tasks.archive_many", ids=[run], include_pipeline_steps=True)
    assert all("archived" in stored(server, step)["system_tags"] for step in steps)
    answer = server.api("tasks.delete_many", ids=[run], include_pipeline_steps=True)
    assert answer["failed"] == []
    for each in (run, *steps):
        fails(server, "tasks.get_by_id", (400, 101), task=each)


@pytest.mark.parametrize("return_urls", [False, True])
def test_many_in_the_shape_that_pages_read(server: LocalServer, return_urls: bool) -> None:
    good, bad = new_task(server), new_task(server, "published")
    for call in ("reset_many", "delete_many"):
        answer = server.api(f"tasks.{call}", ids=[good, bad, good], return_file_urls=return_urls)
        (item,) = answer["succeeded"]
        assert item["id"] == good
        assert (item["urls"] or {}).keys() == (URLS if return_urls else set())
        (failed,) = answer["failed"]
        assert failed["id"] == bad and failed["error"]["codes"][0] == 400 and failed["error"]["msg"]
    answer = server.api("tasks.publish_many", ids=[bad, new_task(server)])
    assert (len(answer["succeeded"]), len(answer["failed"])) == (1, 1)
    assert answer["succeeded"][0]["fields"]["status"] == "published"


def test_archive(server: LocalServer) -> None:
    waiting, other = new_task(server), new_task(server)
    queue = server.api("tasks.enqueue", task=waiting, queue_name="of archives")["fields"]["execution.queue"]
    answer = server.api("tasks.archive_many", ids=[waiting, "unknown"])
    assert answer["succeeded"] == [{"id": waiting, "archived": True}] and len(answer["failed"]) == 1
    after = stored(server, waiting)
    assert (after["status"], after["system_tags"]) == ("created", ["archived"])
    assert server.api("queues.get_num_entries", queue=queue)["num"] == 0
    assert server.api("tasks.archive", tasks=[other]) == {"archived": 1}
    answer = server.api("tasks.unarchive_many", ids=[waiting])
    assert answer["succeeded"] == [{"id": waiting, "unarchived": True}]
    assert stored(server, waiting)["system_tags"] == []


def test_move(server: LocalServer) -> None:
    task = new_task(server)
    moved = server.api("tasks.move", ids=[task], project_name="of moves/below")["project_id"]
    assert stored(server, task)["project"] == moved
    other = server.api("projects.create", name="of other moves")["id"]
    assert server.api("tasks.move", ids=[task], project=other) == {"project_id": other}
    assert server.api("tasks.move", ids=[task], project=None, project_name="") == {"project_id": None}
    assert "project" not in stored(server, task)
    fails(server, "tasks.move", (400, 401), ids=[task], project="0" * 32)
    fails(server, "tasks.move", (400, 101), ids=["0" * 32], project=other)


def test_tags_and_types(server: LocalServer) -> None:
    above = server.api("projects.create", name="of types")["id"]
    below = server.api("projects.create", name="of types/below")["id"]
    task = new_task(server, tags=["a", "b"], project=above)
    new_task(server, type="qc", project=below)
    changes = {"add_tags": ["c", "a"], "remove_tags": ["b"]}
    assert server.api("tasks.update_tags", ids=[task, "unknown"], **changes) == {"updated": 1}
    assert stored(server, task)["tags"] == ["a", "c"]
    fails(server, "tasks.update_tags", (400, 11), ids=[task])
    assert server.api("tasks.get_types", projects=[above]) == {"types": ["qc", "training"]}
    assert server.api("tasks.get_types", projects=[below]) == {"types": ["qc"]}
    assert {"qc", "training"} <= set(server.api("tasks.get_types")["types"])


def test_nothing_is_public(server: LocalServer) -> None:
    fails(server, "tasks.make_public", (400, 1), ids=[])
    fails(server, "tasks.make_private", (400, 24), ids=["x"])
