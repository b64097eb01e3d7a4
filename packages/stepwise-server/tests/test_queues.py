"""Queues: made, changed, deleted; tasks wait in line and no two workers get the same one."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from stepwise_server.testing import ApiFailure, LocalServer

numbers = count()


def new_queue(server: LocalServer, **params: Any) -> str:
    queue: str = server.api("queues.create", name=f"queue {next(numbers)}", **params)["id"]
    return queue


def queued(server: LocalServer, queue: str, tasks: int = 1) -> list[str]:
    ids = [server.api("tasks.create", name=f"task {n}", type="training")["id"] for n in range(tasks)]
    for task in ids:
        server.api("tasks.enqueue", task=task, queue=queue)
    return ids


def line(server: LocalServer, queue: str) -> list[str]:
    entries = server.api("queues.get_by_id", queue=queue)["queue"]["entries"]
    return [entry["task"] for entry in entries]


def status(server: LocalServer, task: str) -> str:
    found: str = server.api("tasks.get_by_id", task=task)["task"]["status"]
    return found


def refused(server: LocalServer, endpoint: str, **params: Any) -> int:
    with pytest.raises(ApiFailure) as failure:
        server.api(endpoint, **params)
    assert failure.value.code == 400
    return failure.value.subcode


def test_a_new_server_has_one_default_queue(server: LocalServer) -> None:
    default = server.api("queues.get_default")
    assert default["name"] == "default"
    other = new_queue(server, system_tags=["default"])
    assert refused(server, "queues.get_default") == 708
    server.api("queues.update", queue=other, system_tags=[])
    server.api("queues.update", queue=default["id"], system_tags=[])
    assert refused(server, "queues.get_default") == 707
    server.api("queues.update", queue=default["id"], system_tags=["default"])
    assert server.api("queues.get_default") == default


def test_names_are_unique_and_long_enough(server: LocalServer) -> None:
    queue = server.api("queues.create", name="  big GPUs ", tags=["b", "a", "b"])["id"]
    stored = server.api("queues.get_by_id", queue=queue)["queue"]
    assert (stored["name"], stored["tags"], stored["system_tags"]) == ("big GPUs", ["a", "b"], [])
    assert refused(server, "queues.create", name="big GPUs") == 801
    assert refused(server, "queues.create", name=" x ") == 800
    assert refused(server, "queues.create") == 11
    assert refused(server, "queues.update", queue=queue, name="default") == 801
    answer = server.api("queues.update", queue=queue, name="big GPUs", display_name="Big", tags=["z", "y"])
    assert answer["updated"] == 1
    assert answer["fields"]["tags"] == ["y", "z"]
    assert server.api("queues.update", queue=queue) == {"updated": 0, "fields": {}}


def test_a_name_is_no_id(server: LocalServer) -> None:
    assert refused(server, "queues.get_by_id", queue="default") == 701
    assert refused(server, "queues.get_next_task", queue="default") == 701
    assert refused(server, "queues.update", queue="default", name="other") == 701


def test_first_come_first_served(server: LocalServer) -> None:
    queue = new_queue(server)
    tasks = queued(server, queue, 3)
    assert server.api("queues.get_num_entries", queue=queue) == {"num": 3}
    assert server.api("queues.peek_task", queue=queue) == {"task": tasks[0]}
    first = server.api("queues.get_next_task", queue=queue, get_task_info=True)
    assert first["entry"]["task"] == tasks[0]
    assert first["entry"]["added"].endswith("+00:00")
    assert first["task_info"]["user"] == "__tests__"
    assert status(server, tasks[0]) == "queued"
    assert server.api("queues.get_next_task", queue=queue, task=tasks[2])["entry"]["task"] == tasks[2]
    assert server.api("queues.get_next_task", queue=queue, task=tasks[2]) == {}
    assert server.api("queues.get_next_task", queue=queue)["entry"]["task"] == tasks[1]
    assert server.api("queues.get_next_task", queue=queue) == {}
    assert server.api("queues.peek_task", queue=queue) == {}


def test_what_is_not_queued_any_more_is_not_given_out(server: LocalServer) -> None:
    queue = new_queue(server)
    deleted, started, stopped, good = queued(server, queue, 4)
    server.api("tasks.delete", task=deleted, force=True)
    server.api("tasks.started", task=started)
    server.api("tasks.stop", task=stopped)
    assert server.api("queues.get_next_task", queue=queue)["entry"]["task"] == good
    assert server.api("queues.get_next_task", queue=queue) == {}


def test_no_task_is_given_out_twice(server: LocalServer) -> None:
    queue = new_queue(server)
    tasks = queued(server, queue, 60)

    def work(_: int) -> list[str]:
        taken = []
        while entry := server.api("queues.get_next_task", queue=queue).get("entry"):
            taken.append(entry["task"])
        return taken

    with ThreadPoolExecutor(12) as workers:
        shares = list(workers.map(work, range(12)))
    given = [task for share in shares for task in share]
    assert len(given) == len(set(given)) == 60
    assert set(given) == set(tasks)
    assert sum(bool(share) for share in shares) > 1


def test_places_in_line(server: LocalServer) -> None:
    queue = new_queue(server)
    a, b, c, d = queued(server, queue, 4)
    move = {"queue": queue, "task": d}
    assert server.api("queues.move_task_forward", **move) == {"position": 2}
    assert line(server, queue) == [a, b, d, c]
    assert server.api("queues.move_task_forward", **move, count=99) == {"position": 0}
    assert server.api("queues.move_task_backward", **move, count=2) == {"position": 2}
    assert line(server, queue) == [a, b, d, c]
    assert server.api("queues.move_task_to_front", queue=queue, task=c) == {"position": 0}
    assert server.api("queues.move_task_to_back", queue=queue, task=a) == {"position": 3}
    assert line(server, queue) == [c, b, d, a]
    assert refused(server, "queues.move_task_forward", **move, count=0) == 12
    assert refused(server, "queues.move_task_to_back", queue=new_queue(server), task=a) == 703


def test_tasks_leave_the_line(server: LocalServer) -> None:
    queue, other = new_queue(server), new_queue(server)
    a, b, c = queued(server, queue, 3)
    assert server.api("queues.remove_task", queue=queue, task=a) == {"removed": 1}
    assert status(server, a) == "queued"
    assert server.api("queues.remove_task", queue=queue, task=b, update_task_status=True) == {"removed": 1}
    assert status(server, b) == "created"
    assert refused(server, "queues.remove_task", queue=queue, task=b) == 703
    assert refused(server, "queues.remove_task", queue=other, task=c) == 703
    assert server.api("queues.add_task", queue=queue, task=b) == {"added": 1}
    assert refused(server, "queues.add_task", queue=queue, task=b) == 706
    assert server.api("queues.clear_queue", queue=queue) == {"removed_tasks": [c, b]}
    assert [status(server, task) for task in (b, c)] == ["created", "created"]
    assert line(server, queue) == []


def test_a_queue_is_deleted(server: LocalServer) -> None:
    queue = new_queue(server)
    (task,) = queued(server, queue)
    assert refused(server, "queues.delete", queue=queue) == 702
    assert server.api("queues.delete", queue=queue, force=True) == {"deleted": 1}
    assert status(server, task) == "created"
    assert refused(server, "queues.get_by_id", queue=queue) == 701
    assert server.api("queues.delete", queue=new_queue(server)) == {"deleted": 1}


def test_metadata(server: LocalServer) -> None:
    queue = new_queue(server)
    items = [{"key": "a.b", "type": "str", "value": "1"}, {"key": "c", "value": "2"}]
    assert server.api("queues.add_or_update_metadata", queue=queue, metadata=items) == {"updated": 1}
    changed = [{"key": "c", "type": "int", "value": "3"}]
    server.api("queues.add_or_update_metadata", queue=queue, metadata=changed)
    stored = server.api("queues.get_by_id", queue=queue)["queue"]["metadata"]
    assert stored == {"a.b": items[0], "c": changed[0]}
    assert server.api("queues.delete_metadata", queue=queue, keys=["a.b", "x"]) == {"updated": 1}
    assert server.api("queues.delete_metadata", queue=queue, keys=["a.b"]) == {"updated": 0}
    server.api("queues.add_or_update_metadata", queue=queue, metadata=items[:1], replace_metadata=True)
    assert list(server.api("queues.get_by_id", queue=queue)["queue"]["metadata"]) == ["a.b"]
    assert refused(server, "queues.add_or_update_metadata", queue=queue, metadata=[{"value": "x"}]) == 12


def test_metrics_tell_length_and_waiting_time(server: LocalServer) -> None:
    queue = new_queue(server)
    queued(server, queue, 3)
    server.services.database.write(
        lambda tx: tx.execute("UPDATE queue_stats SET timestamp = timestamp - 5000 WHERE queue = ?", [queue])
    )
    server.services.database.write(
        lambda tx: tx.execute(
            "UPDATE queue_entries SET added = strftime('%Y-%m-%dT%H:%M:%f000+00:00', added, '-60 seconds')"
            " WHERE queue = ?",
            [queue],
        )
    )
    span = {"from_date": time.time() - 600, "to_date": time.time() + 60, "interval": 1}
    server.api("queues.get_next_task", queue=queue)
    (row,) = server.api("queues.get_queue_metrics", **span, queue_ids=[queue])["queues"]
    assert row["queue"] == queue
    assert row["queue_lengths"] == [3, 2]
    assert row["avg_waiting_times"] == pytest.approx([0, 60], abs=3)
    assert row["dates"] == sorted(row["dates"])
    assert abs(row["dates"][-1] / 1000 - time.time()) < 10
    (fresh,) = server.api("queues.get_queue_metrics", **span, queue_ids=[queue], refresh=True)["queues"]
    assert fresh["queue_lengths"][-1] == 2
    (total,) = server.api("queues.get_queue_metrics", **span)["queues"]
    assert total["queue"] == "total"
    assert refused(server, "queues.get_queue_metrics", from_date=2, to_date=1, interval=1) == 12
    assert refused(server, "queues.get_queue_metrics", from_date=0, to_date=1) == 11


def test_a_full_queue_is_measured_once_a_second(server: LocalServer) -> None:
    queue = new_queue(server)
    queued(server, queue, 20)
    rows = server.services.database.read(
        lambda tx: tx.one("SELECT count(*), max(length) FROM queue_stats WHERE queue = ?", [queue])
    )
    assert rows is not None
    assert rows[0] <= 5
    assert rows[1] == 20
