"""The status machine: every transition, with and without force, and what each one writes."""

import pytest
from task_tools import new_task, stored

from stepwise_server.testing import ApiFailure, LocalServer

ALLOWED = {
    "created": {"queued", "in_progress"},
    "queued": {"created", "in_progress", "stopped"},
    "in_progress": {"created", "stopped", "failed", "completed"},
    "stopped": {"created", "queued", "in_progress", "closed", "completed", "failed", "published"},
    "closed": {"created", "stopped", "failed", "published"},
    "failed": {"created", "queued", "stopped", "published"},
    "completed": {"created", "in_progress", "published"},
    "publishing": {"published"},
    "published": set(),
}
"""Copied from the documentation of the API, not from the code."""

CALLS = {
    "created": "tasks.reset",
    "in_progress": "tasks.started",
    "queued": "tasks.enqueue",
    "stopped": "tasks.stopped",
    "closed": "tasks.close",
    "failed": "tasks.failed",
    "completed": "tasks.completed",
    "published": "tasks.publish",
}
"""Which call leads where."""

STANDARD = {
    "status",
    "status_reason",
    "status_message",
    "status_changed",
    "last_update",
    "last_change",
    "last_changed_by",
}


@pytest.mark.parametrize("target", CALLS)
@pytest.mark.parametrize("start", ALLOWED)
def test_every_transition(server: LocalServer, start: str, target: str) -> None:
    task = new_task(server, start)
    if target == start or target in ALLOWED[start]:
        answer = server.api(CALLS[target], task=task, status_reason="why", status_message="what")
        fields, after = answer["fields"], stored(server, task)
        assert answer["updated"] == 1
        assert fields.keys() >= STANDARD
        assert {name: after[name] for name in STANDARD} == {name: fields[name] for name in STANDARD}
        assert (after["status"], after["status_reason"], after["status_message"]) == (target, "why", "what")
        assert after["status_changed"] == after["last_change"] == after["last_update"]
    else:
        with pytest.raises(ApiFailure, match=f"current_status={start}, new_status={target}") as failure:
            server.api(CALLS[target], task=task)
        assert (failure.value.code, failure.value.subcode) == (400, 110)
        assert stored(server, task)["status"] == start
        assert server.api(CALLS[target], task=task, force=True)["fields"]["status"] == target


def test_started_again_does_not_move_the_start(server: LocalServer) -> None:
    task = new_task(server)
    first = server.api("tasks.started", task=task)
    assert first["started"] == 1
    assert first["fields"]["started"] == stored(server, task)["started"]
    server.api("tasks.started", task=task, force=True, status_message="pulled by agent")
    after = stored(server, task)
    assert after["started"] == first["fields"]["started"]
    assert after["status_message"] == "pulled by agent"


def test_a_task_that_goes_on_starts_anew(server: LocalServer) -> None:
    task = new_task(server)
    first = server.api("tasks.started", task=task)["fields"]["started"]
    server.api("tasks.stopped", task=task)
    ended = stored(server, task)
    assert ended["completed"] and ended["active_duration"] >= 0
    server.api("tasks.started", task=task)
    again = stored(server, task)
    assert again["started"] > first
    assert "completed" not in again and "active_duration" not in again


def test_completed_twice_keeps_when(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    first = server.api("tasks.completed", task=task, status_reason="completed")
    assert first["published"] == 0
    server.api("tasks.completed", task=task, status_reason="worker execution done")
    after = stored(server, task)
    assert after["completed"] == first["fields"]["completed"]
    assert after["status_reason"] == "worker execution done"


def test_completed_and_published_in_one_call(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    answer = server.api("tasks.completed", task=task, publish=True)
    assert (answer["published"], answer["fields"]["status"]) == (1, "published")
    after = stored(server, task)
    assert after["published"] and after["completed"]


@pytest.mark.parametrize("publish_model", [None, True, False])
def test_publishing_marks_the_last_output_model(server: LocalServer, publish_model: bool | None) -> None:
    task = new_task(server, "in_progress")
    models = []
    for name in ("first", "last"):
        model = {"uri": f"http://there/{name}", "name": name, "ready": False, "task": task}
        models.append(server.api("models.create", **model)["id"])
        server.api("tasks.add_or_update_model", task=task, name=name, model=models[-1], type="output")
    server.api("tasks.completed", task=task)
    server.api("tasks.publish", task=task, publish_model=publish_model)
    ready = [server.api("models.get_by_id", model=each)["model"]["ready"] for each in models]
    assert ready == [False, publish_model is not False]


@pytest.mark.parametrize(
    "call", ["tasks.started", "tasks.stop", "tasks.publish", "tasks.ping", "tasks.reset"]
)
def test_unknown_task(server: LocalServer, call: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api(call, task="0" * 32)
    assert (failure.value.code, failure.value.subcode) == (400, 101)
    with pytest.raises(ApiFailure) as failure:
        server.api(call)
    assert (failure.value.code, failure.value.subcode) == (400, 11)


def test_no_such_status(server: LocalServer) -> None:
    task = new_task(server)
    for force in (True, False):
        with pytest.raises(ApiFailure) as failure:
            server.api("tasks.edit", task=task, status="lost", force=force)
        assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_ping_keeps_the_watchdog_away(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    server.api("tasks.started", task=task)
    before = stored(server, task)
    assert server.api("tasks.ping", task=task) == {}
    after = stored(server, task)
    assert after["last_update"] > before["last_update"]
    assert after["active_duration"] >= 0


def test_stop_of_a_task_that_runs_by_itself(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    fields = server.api("tasks.stop", task=task)["fields"]
    assert (fields["status"], fields["status_message"]) == ("stopped", "Stopped by Default User")
    assert stored(server, task)["completed"]


def test_stop_asks_the_worker_that_runs_a_task(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    worker = {"worker": "machine:0", "timestamp": 1, "machine_stats": {}}
    server.api("workers.status_report", task=task, **worker)
    fields = server.api("tasks.stop", task=task)["fields"]
    assert (fields["status"], fields["status_message"]) == ("in_progress", "stopping")
    assert stored(server, task)["status_message"] == "stopping"
    server.api("tasks.started", task=task, status_message="launch by agent")
    server.api("tasks.dequeue", task=task, new_status="in_progress")
    assert stored(server, task)["status_message"] == "stopping"
    server.api("tasks.edit", task=task, system_tags=["development"], force=True)
    assert server.api("tasks.stop", task=task)["fields"]["status"] == "stopped"


def test_stop_of_a_task_whose_worker_has_left(server: LocalServer) -> None:
    task = new_task(server, "in_progress")
    server.api("workers.status_report", worker="machine:1", timestamp=1, task=task)
    server.api("workers.unregister", worker="machine:1")
    assert server.api("tasks.stop", task=task)["fields"]["status"] == "stopped"


def test_stop_takes_a_waiting_task_out_of_its_queue(server: LocalServer) -> None:
    task = new_task(server)
    queue = server.api("tasks.enqueue", task=task, queue_name="of its own")["fields"]["execution.queue"]
    server.api("tasks.stop", task=task)
    after = stored(server, task)
    assert after["status"] == "stopped" and "queue" not in after["execution"]
    assert server.api("queues.get_num_entries", queue=queue)["num"] == 0


def test_stop_with_the_steps_of_a_pipeline(server: LocalServer) -> None:
    run = new_task(server, "in_progress", type="controller", system_tags=["pipeline"])
    steps = [new_task(server, status, parent=run) for status in ("in_progress", "completed")]
    answer = server.api("tasks.stop_many", ids=[run], include_pipeline_steps=True)
    assert [each["fields"]["status"] for each in answer["succeeded"]] == ["stopped"]
    assert [stored(server, each)["status"] for each in steps] == ["stopped", "completed"]
