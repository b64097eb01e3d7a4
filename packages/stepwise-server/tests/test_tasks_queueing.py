"""tasks.enqueue and tasks.dequeue, for one and for many; the lines themselves."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from task_tools import fails, new_task, stored

from stepwise_server.errors import ApiError
from stepwise_server.store import queueing
from stepwise_server.store.database import Transaction
from stepwise_server.testing import LocalServer


def new_queue(server: LocalServer, name: str) -> str:
    queue: str = server.api("queues.create", name=name)["id"]
    return queue


def line(server: LocalServer, queue: str) -> list[str]:
    """Return the tasks that wait in a queue, its head first."""
    return server.services.database.read(lambda tx: [each.task for each in queueing.entries(tx, queue)])


def test_enqueue(server: LocalServer) -> None:
    queue = new_queue(server, "enqueue")
    task = new_task(server, system_tags=["development", "x"])
    answer = server.api("tasks.enqueue", task=task, queue=queue, status_reason="why")
    assert (answer["queued"], answer["updated"]) == (1, 1) and "queue_watched" not in answer
    assert answer["fields"]["execution.queue"] == queue and "execution" not in answer["fields"]
    after = stored(server, task)
    assert (after["status"], after["status_reason"]) == ("queued", "why")
    assert (after["execution"]["queue"], after["system_tags"]) == (queue, ["x"])
    fails(server, "tasks.enqueue", (400, 706), task=task, queue=queue)


def test_a_task_waits_in_one_queue(server: LocalServer) -> None:
    first, second = new_queue(server, "first of two"), new_queue(server, "second of two")
    task = new_task(server)
    server.api("tasks.started", task=task)
    server.api("tasks.stopped", task=task)
    server.api("tasks.enqueue", task=task, queue=first)
    server.api("tasks.enqueue", task=task, queue=second)
    assert (line(server, first), line(server, second)) == ([], [task])
    assert server.api("tasks.dequeue", task=task)["fields"]["status"] == "stopped"


def test_which_queue(server: LocalServer) -> None:
    default = server.api("queues.get_default")["id"]
    assert server.api("tasks.enqueue", task=new_task(server))["fields"]["execution.queue"] == default
    made = server.api("tasks.enqueue", task=new_task(server), queue_name=" by name ")
    again = server.api("tasks.enqueue", task=new_task(server), queue_name="by name")
    assert made["fields"]["execution.queue"] == again["fields"]["execution.queue"] != default
    task = new_task(server)
    fails(server, "tasks.enqueue", (400, 12), task=task, queue=default, queue_name="by name")
    fails(server, "tasks.enqueue", (400, 701), task=task, queue="default")
    fails(server, "tasks.enqueue", (400, 800), task=task, queue_name="x")


def test_the_default_queue_must_be_one(server: LocalServer) -> None:
    default = server.api("queues.get_default")["id"]
    task = new_task(server)
    server.api("queues.update", queue=default, system_tags=[])
    fails(server, "tasks.enqueue", (400, 707), task=task)
    other = new_queue(server, "another default")
    for queue in (default, other):
        server.api("queues.update", queue=queue, system_tags=["default"])
    fails(server, "tasks.enqueue", (400, 708), task=task)
    server.api("queues.update", queue=other, system_tags=[])
    server.api("tasks.enqueue", task=task)


def test_watched(server: LocalServer) -> None:
    queue = new_queue(server, "watched")
    for expected in (False, True):
        task = new_task(server)
        answer = server.api("tasks.enqueue", task=task, queue=queue, verify_watched_queue=True)
        assert answer["queue_watched"] is expected
        server.api("workers.register", worker="w:0", queues=[queue])


def test_the_queue_of_the_execution_may_stay(server: LocalServer) -> None:
    queue, task = new_queue(server, "kept"), new_task(server)
    answer = server.api("tasks.enqueue", task=task, queue=queue, update_execution_queue=False)
    assert answer["fields"]["status"] == "queued"
    assert "queue" not in stored(server, task)["execution"]


@pytest.mark.parametrize("before", ["created", "stopped", "failed"])
def test_dequeue_brings_the_status_back(server: LocalServer, before: str) -> None:
    queue, task = new_queue(server, f"for {before}"), new_task(server)
    server.api("tasks.edit", task=task, status=before, force=True)
    server.api("tasks.enqueue", task=task, queue=queue)
    answer = server.api("tasks.dequeue", task=task)
    assert (answer["dequeued"], answer["updated"]) == (1, 1)
    assert answer["fields"]["execution.queue"] is None
    after = stored(server, task)
    assert after["status"] == before and "queue" not in after["execution"]
    assert line(server, queue) == []


def test_dequeue_as_agents_do(server: LocalServer) -> None:
    queue, task = new_queue(server, "of an agent"), new_task(server)
    server.api("tasks.enqueue", task=task, queue=queue)
    assert server.api("queues.get_next_task", queue=queue)["entry"]["task"] == task
    answer = server.api("tasks.dequeue", task=task, new_status="in_progress")
    assert (answer["dequeued"], answer["updated"], answer["fields"]["status"]) == (1, 1, "in_progress")
    assert server.api("tasks.dequeue", task=task)["fields"]["status"] == "in_progress"


def test_dequeue_of_what_does_not_wait(server: LocalServer) -> None:
    assert server.api("tasks.dequeue", task="0" * 32) == {"dequeued": 0, "updated": 0}
    task = new_task(server)
    assert server.api("tasks.dequeue", task=task) == {"dequeued": 0, "updated": 0}
    server.api("tasks.enqueue", task=task)
    fails(server, "tasks.dequeue", (400, 110), task=task, new_status="published")
    assert stored(server, task)["status"] == "queued"
    assert server.api("tasks.dequeue", task=task)["updated"] == 1


@pytest.mark.parametrize("call", ["tasks.started", "tasks.stopped", "tasks.completed", "tasks.reset"])
def test_only_what_is_queued_waits(server: LocalServer, call: str) -> None:
    queue, task = new_queue(server, f"left by {call}"), new_task(server)
    server.api("tasks.enqueue", task=task, queue=queue)
    server.api(call, task=task, force=True)
    assert line(server, queue) == []
    server.api("tasks.enqueue", task=task, queue=queue, force=True)
    assert line(server, queue) == [task]


def test_many(server: LocalServer) -> None:
    queue = new_queue(server, "for many")
    tasks = [new_task(server) for _ in range(3)]
    server.api("tasks.edit", task=tasks[1], status="completed", force=True)
    answer = server.api("tasks.enqueue_many", ids=[*tasks, "unknown"], queue=queue, verify_watched_queue=True)
    assert [(each["id"], each["queued"], each["updated"]) for each in answer["succeeded"]] == [
        (tasks[0], True, 1),
        (tasks[2], True, 1),
    ]
    errors = {each["id"]: each["error"] for each in answer["failed"]}
    assert errors[tasks[1]]["codes"] == [400, 110] and errors["unknown"]["codes"] == [400, 101]
    assert "current_status=completed" in errors[tasks[1]]["msg"]
    assert errors[tasks[1]]["data"] == {"current_status": "completed", "new_status": "queued"}
    assert answer["queue_watched"] is False and line(server, queue) == [tasks[0], tasks[2]]
    answer = server.api("tasks.dequeue_many", ids=tasks)
    assert [each["dequeued"] for each in answer["succeeded"]] == [True, False, True]
    assert line(server, queue) == []


def test_many_can_be_checked_before(server: LocalServer) -> None:
    queue = new_queue(server, "for checked ones")
    task = new_task(server, models={"input": [{"name": "w", "model": "0" * 32}]})
    answer = server.api("tasks.enqueue_many", ids=[task], queue=queue, validate_tasks=True)
    assert answer["failed"][0]["error"]["codes"] == [400, 201]
    assert stored(server, task)["status"] == "created"
    assert server.api("tasks.enqueue_many", ids=[task], queue=queue)["failed"] == []


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 6), st.integers(0, 1)),
        st.tuples(st.just("take"), st.integers(0, 6), st.integers(0, 1)),
        st.tuples(st.just("pop"), st.just(0), st.integers(0, 1)),
        st.tuples(st.just("move"), st.integers(0, 6), st.integers(-8, 8)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_lines_behave_like_lists(server: LocalServer, actions: list[tuple[str, int, int]]) -> None:
    """Whatever is done to two queues, their order is that of two Python lists."""
    queues = sorted(server.api("tasks.enqueue", task=new_task(server), queue_name=name)["fields"][
        "execution.queue"
    ] for name in ("model a", "model b"))  # fmt: skip
    server.services.database.write(lambda tx: tx.execute("DELETE FROM queue_entries"))
    model: list[list[str]] = [[], []]
    for action, number, extra in actions:
        server.services.database.write(
            lambda tx, action=action, number=number, extra=extra: _apply(  # type: ignore[misc]
                tx, queues, model, action, f"task {number}", extra
            )
        )
    assert [line(server, queue) for queue in queues] == model


def _apply(
    tx: Transaction, queues: list[str], model: list[list[str]], action: str, task: str, extra: int
) -> None:
    """Do the same to a queue and to the list that models it."""
    if action == "append":
        if task in model[extra]:
            with pytest.raises(ApiError):
                queueing.append(tx, task, queues[extra])
            return
        for each in model:
            each[:] = [other for other in each if other != task]
        model[extra].append(task)
        queueing.append(tx, task, queues[extra])
    elif action == "take":
        entry = queueing.take(tx, task, queues[extra])
        assert (entry is not None) == (task in model[extra])
        model[extra][:] = [other for other in model[extra] if other != task]
    elif action == "pop":
        entry = queueing.pop(tx, queues[extra])
        assert (entry.task if entry else None) == (model[extra].pop(0) if model[extra] else None)
    elif task in model[0]:
        place = max(0, min(model[0].index(task) + extra, len(model[0]) - 1))
        model[0].remove(task)
        model[0].insert(place, task)
        assert queueing.move(tx, task, queues[0], by=extra) == place
