"""The pipelines service."""

from typing import Any

import pytest
from task_tools import stored

from stepwise_server.testing import ApiFailure, LocalServer


def new_run(server: LocalServer, project: str, **fields: Any) -> str:
    params = {
        "name": "my pipeline",
        "type": "controller",
        "project": project,
        "system_tags": ["pipeline", "development"],
        "hyperparams": {
            "Args": {"lr": {"value": "1", "type": "float"}, "depth": {"value": "2"}},
            "pipeline": {"queue": {"value": "q"}},
        },
        "configuration": {"Pipeline": {"value": "{}"}},
        **fields,
    }
    run: str = server.api("tasks.create", **params)["id"]
    return run


def new_pipeline(server: LocalServer, name: str) -> str:
    project: str = server.api("projects.create", name=f"Owner/.pipelines/{name}")["id"]
    return project


def test_start(server: LocalServer) -> None:
    run = new_run(server, new_pipeline(server, "started"))
    queue = server.api("queues.create", name="pipelines")["id"]
    params = {
        "task": run,
        "queue": queue,
        "args": [{"name": "lr", "value": "0.5"}, {"name": "new", "value": None}],
    }
    answer = server.api("pipelines.start_pipeline", **params, verify_watched_queue=True)
    assert answer["enqueued"] is True and answer["queue_watched"] is False
    copy = stored(server, answer["pipeline"])
    assert (copy["name"], copy["status"], copy["type"]) == ("my pipeline #2", "queued", "controller")
    assert copy["hyperparams"]["Args"] == {
        "lr": {"section": "Args", "name": "lr", "value": "0.5", "type": "float"},
        "new": {"section": "Args", "name": "new", "value": ""},
    }
    assert copy["hyperparams"]["pipeline"]["queue"]["value"] == "q" and copy["configuration"]["Pipeline"]
    assert copy["system_tags"] == ["pipeline"] and copy["execution"]["queue"] == queue
    again = server.api("pipelines.start_pipeline", task=answer["pipeline"], queue=queue)["pipeline"]
    assert stored(server, again)["name"] == "my pipeline #3"
    assert stored(server, again)["hyperparams"] == copy["hyperparams"]


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ((400, 11), {"queue": None}),
        ((400, 701), {"queue": "pipelines"}),
        ((400, 101), {"task": "0" * 32}),
        ((400, 12), {"args": [{"value": "1"}]}),
        ((400, 12), {"args": [{"name": "x", "value": 1}]}),
    ],
)
def test_what_start_refuses(server: LocalServer, code: tuple[int, int], params: dict[str, Any]) -> None:
    run = new_run(
        server, server.api("tasks.move", ids=[], project_name="Owner/.pipelines/refused")["project_id"]
    )
    queue = server.api("queues.get_default")["id"]
    with pytest.raises(ApiFailure) as failure:
        server.api("pipelines.start_pipeline", **{"task": run, "queue": queue, **params})
    assert (failure.value.code, failure.value.subcode) == code
    assert (
        len(
            server.api("tasks.get_all", name="my pipeline #", project=[stored(server, run)["project"]])[
                "tasks"
            ]
        )
        == 0
    )


def test_only_pipelines_are_started(server: LocalServer) -> None:
    task = server.api("tasks.create", name="no pipeline", type="training")["id"]
    with pytest.raises(ApiFailure, match="not a run of a pipeline"):
        server.api("pipelines.start_pipeline", task=task, queue=server.api("queues.get_default")["id"])


def test_delete_runs(server: LocalServer) -> None:
    project = new_pipeline(server, "deleted")
    runs = [new_run(server, project) for _ in range(3)]
    step = server.api("tasks.create", name="a step", type="training", parent=runs[0])["id"]
    elsewhere = new_run(server, new_pipeline(server, "elsewhere"))
    with pytest.raises(ApiFailure) as failure:
        server.api("pipelines.delete_runs", project=project, ids=runs)
    assert (failure.value.code, failure.value.subcode) == (400, 160)
    ids = [runs[0], runs[1], elsewhere]
    answer = server.api("pipelines.delete_runs", project=project, ids=ids, include_pipeline_steps=True)
    assert [(each["id"], each["deleted"]) for each in answer["succeeded"]] == [
        (each, True) for each in runs[:2]
    ]
    assert [(each["id"], each["error"]["codes"]) for each in answer["failed"]] == [(elsewhere, [400, 101])]
    left = server.api("tasks.get_all", id=[*runs, step, elsewhere], only_fields=["id"])["tasks"]
    assert {each["id"] for each in left} == {runs[2], elsewhere}
