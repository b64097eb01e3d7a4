"""Workers: they register, report, are listed with what they run, and go."""

import time
from itertools import count
from typing import Any

import pytest

from stepwise_server import watchdog
from stepwise_server.testing import ApiFailure, LocalServer

numbers = count()
MACHINE = {
    "cpu_usage": [20.0, 40.0],
    "memory_free": 1000.5,
    "memory_used": 500,
    "gpu_usage": [90.0, 10.0],
    "network_rx": 0.01,
    "something_new": [1],
}


def name() -> str:
    return f"host:{next(numbers)}"


def report(server: LocalServer, worker: str, **params: Any) -> None:
    assert server.api("workers.status_report", worker=worker, timestamp=1, **params) == {}


def listed(server: LocalServer, worker: str, **params: Any) -> dict[str, Any] | None:
    found = server.api("workers.get_all", **params)["workers"]
    return next((each for each in found if each["id"] == worker), None)


def shift(server: LocalServer, worker: str, seconds: int) -> None:
    """Let a worker's last report be so many seconds older."""

    def change(tx: Any) -> None:
        for column in ("last_report", "expires"):
            earlier = f"strftime('%Y-%m-%dT%H:%M:%f000+00:00', {column}, ?)"
            tx.execute(
                f"UPDATE workers SET {column} = {earlier} WHERE id = ?", [f"-{seconds} seconds", worker]
            )
        doc = "json_set(doc, '$.last_report', last_report)"
        tx.execute(f"UPDATE workers SET doc = {doc} WHERE id = ?", [worker])

    server.services.database.write(change)


def test_a_worker_registers_and_leaves(server: LocalServer) -> None:
    worker, queue = name(), server.api("queues.get_default")
    server.api("workers.register", worker=worker, queues=[queue["id"]], tags=["gpu"], timeout=60)
    shown = listed(server, worker)
    assert shown is not None
    assert (shown["tags"], shown["system_tags"], shown["register_timeout"]) == (["gpu"], [], 60)
    assert shown["user"]["id"] == "__tests__"
    assert shown["ip"] == "127.0.0.1"
    assert shown["queues"] == [{**queue, "display_name": "default", "num_tasks": 0}]
    assert server.api("workers.unregister", worker=worker) == {}
    assert listed(server, worker) is None
    with pytest.raises(ApiFailure) as failure:
        server.api("workers.unregister", worker=worker)
    assert (failure.value.code, failure.value.subcode) == (400, 1002)
    with pytest.raises(ApiFailure) as failure:
        server.api("workers.register", worker=worker, queues=["default"])
    assert failure.value.subcode == 701


def test_runtime_properties_do_not_exist(server: LocalServer) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("workers.get_runtime_properties", worker=name())
    assert (failure.value.code, failure.value.subcode) == (404, 0)


def test_a_report_says_what_runs_and_marks_the_task(server: LocalServer) -> None:
    worker, queue = name(), server.api("queues.get_default")["id"]
    project = server.api("projects.create", name=f"project of {worker}")["id"]
    task = server.api("tasks.create", name="a run", type="training", project=project)["id"]
    waiting = server.api("tasks.create", name="the next", type="training")["id"]
    server.api("tasks.started", task=task)
    server.api("tasks.enqueue", task=waiting, queue=queue)
    report(server, worker, queues=[queue], queue=queue, task=task, machine_stats=MACHINE, is_daemon=True)
    shown = listed(server, worker)
    assert shown is not None
    assert shown["task"]["name"] == "a run"
    assert shown["task"]["running_time"] < 60_000
    assert shown["task"]["last_iteration"] == 0
    assert shown["project"] == {"id": project, "name": f"project of {worker}"}
    assert shown["queue"]["name"] == "default"
    assert shown["queues"][0]["num_tasks"] == 1
    assert shown["queues"][0]["next_task"] == {"id": waiting, "name": "the next"}
    stored = server.api("tasks.get_by_id", task=task)["task"]
    assert stored["last_worker"] == worker
    assert stored["last_worker_report"] == stored["last_update"] == stored["last_change"]
    report(server, worker)
    shown = listed(server, worker)
    assert shown is not None
    assert "task" not in shown
    assert [each["id"] for each in shown["queues"]] == [queue]
    server.api("tasks.dequeue", task=waiting)


def test_reports_are_checked(server: LocalServer) -> None:
    for params, subcode in (
        ({"worker": "w"}, 11),
        ({"timestamp": 1}, 11),
        ({"worker": "w", "timestamp": 1, "task": "unknown"}, 101),
        ({"worker": "w", "timestamp": 1, "queues": ["unknown"]}, 701),
        ({"worker": "w", "timestamp": 1, "machine_stats": {"cpu_usage": ["x"]}}, 12),
        ({"worker": "w", "timestamp": 1, "machine_stats": [1]}, 12),
    ):
        with pytest.raises(ApiFailure) as failure:
            server.api("workers.status_report", **params)
        assert (failure.value.code, failure.value.subcode) == (400, subcode), params
    assert listed(server, "w") is None


def test_a_queue_is_watched_while_its_worker_is_there(server: LocalServer) -> None:
    worker, queue = name(), server.api("queues.create", name="watched")["id"]
    task = server.api("tasks.create", name="a run", type="training")["id"]

    def watched() -> bool:
        answer = server.api("tasks.enqueue", task=task, queue=queue, verify_watched_queue=True)
        server.api("tasks.dequeue", task=task)
        result: bool = answer["queue_watched"]
        return result

    assert not watched()
    server.api("workers.register", worker=worker, queues=[queue], timeout=60)
    assert watched()
    shown = server.api("queues.get_all_ex", id=[queue])["queues"][0]["workers"]
    assert [(each["name"], each["ip"]) for each in shown] == [(worker, "127.0.0.1")]
    shift(server, worker, 61)
    assert not watched()


def test_silent_workers_disappear(server: LocalServer) -> None:
    worker, patient = name(), name()
    report(server, worker)
    server.api("workers.register", worker=patient, timeout=7200)
    shift(server, worker, 601)
    shift(server, patient, 4000)
    assert listed(server, worker, last_seen=0) is None
    assert listed(server, patient) is None
    assert listed(server, patient, last_seen=0) is not None
    assert listed(server, patient, last_seen=5000) is not None
    assert worker in watchdog.remove_silent_workers(server.services)
    assert watchdog.remove_silent_workers(server.services) == []


def test_filters(server: LocalServer) -> None:
    one, two = name(), name()
    server.api("workers.register", worker=one, tags=["a", "b"])
    server.api("workers.register", worker=two, tags=["b"], system_tags=["s"])

    def found(**params: Any) -> set[str]:
        ids = {each["id"] for each in server.api("workers.get_all", **params)["workers"]}
        assert server.api("workers.get_count", **params) == {"count": len(ids)}
        return ids & {one, two}

    assert found() == {one, two}
    assert found(tags=["a"]) == {one}
    assert found(tags=["-a"]) == {two}
    assert found(tags=["__$all", "a", "b"]) == {one}
    assert found(system_tags=["s"]) == {two}
    assert found(worker_pattern=f"^{one}$") == {one}
    with pytest.raises(ApiFailure) as failure:
        found(worker_pattern="(")
    assert failure.value.subcode == 21


def test_statistics(server: LocalServer) -> None:
    worker = name()
    report(server, worker, machine_stats=MACHINE)
    categories = server.api("workers.get_metric_keys", worker_ids=[worker])["categories"]
    assert {each["name"]: each["metric_keys"] for each in categories} == {
        "cpu": ["cpu_usage"],
        "gpu": ["gpu_usage"],
        "memory": ["memory_free", "memory_used"],
        "network": ["network_rx"],
    }
    span = {"from_date": time.time() - 600, "to_date": time.time() + 1, "interval": 3600}
    items = [
        {"key": "cpu_usage", "aggregation": "avg"},
        {"key": "cpu_usage", "aggregation": "max"},
        {"key": "memory_used", "aggregation": "min"},
    ]
    (found,) = server.api("workers.get_stats", worker_ids=[worker], items=items, **span)["workers"]
    assert found["worker"] == worker
    values = {
        (metric["metric"], stat["aggregation"]): stat["values"]
        for metric in found["metrics"]
        for stat in metric["stats"]
    }
    assert values == {
        ("cpu_usage", "avg"): [30.0],
        ("cpu_usage", "max"): [40.0],
        ("memory_used", "min"): [500.0],
    }
    split = server.api(
        "workers.get_stats", worker_ids=[worker], items=items[:1], split_by_variant=True, **span
    )["workers"][0]["metrics"]
    assert {each["variant"]: each["stats"][0]["values"] for each in split} == {"0": [20.0], "1": [40.0]}
    for wrong in (
        [{"key": "nonsense"}],
        [{"key": "cpu_usage", "aggregation": "sum"}],
        [{"key": ["x"]}],
        None,
    ):
        with pytest.raises(ApiFailure) as failure:
            server.api("workers.get_stats", items=wrong, **span)
        assert failure.value.code == 400


def test_activity(server: LocalServer) -> None:
    idle, busy = name(), name()
    task = server.api("tasks.create", name="a run", type="training")["id"]
    later = time.time() + 10_000_000  # where no other test reports
    report(server, idle)
    report(server, busy, task=task)
    server.services.database.write(
        lambda tx: tx.execute(
            "UPDATE worker_stats SET timestamp = ? WHERE worker IN (?, ?)", [int(later) * 1000, idle, busy]
        )
    )
    answer = server.api(
        "workers.get_activity_report", from_date=later - 600, to_date=later + 600, interval=60
    )
    total, active = answer["total"], answer["active"]
    assert total["dates"] == active["dates"]
    assert 20 <= len(total["dates"]) <= 22
    assert (sum(total["counts"]), sum(active["counts"])) == (2, 1)
    with pytest.raises(ApiFailure) as failure:
        server.api("workers.get_activity_report", from_date=0, to_date=later, interval=1)
    assert failure.value.subcode == 12


def test_figures_stay_bounded(server: LocalServer) -> None:
    worker = name()

    def rows() -> int:
        return int(
            server.services.database.read(
                lambda tx: tx.value("SELECT count(*) FROM worker_stats WHERE worker = ?", [worker])
            )
        )

    for _ in range(30):
        report(server, worker, machine_stats=MACHINE)
    assert rows() <= 5 * 8
    watchdog.prune_figures(server.services)
    assert rows() > 0
    watchdog.prune_figures(server.services, seconds=-10)
    assert rows() == 0
