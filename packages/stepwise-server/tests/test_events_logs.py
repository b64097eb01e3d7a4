"""The console: pages in both directions, download, clearing."""

import json
from typing import Any

import pytest
from event_tools import new_task

from stepwise_server.testing import ApiFailure, LocalServer


def write(server: LocalServer, task: str, *moments: int, **fields: Any) -> None:
    """Write one console line for each moment, which is also its text."""
    server.events(
        *[{"type": "log", "task": task, "timestamp": at, "msg": f"line {at}", **fields} for at in moments]
    )


def moments(server: LocalServer, task: str, **params: Any) -> list[int]:
    answer = server.api("events.get_task_log", task=task, **params)
    assert answer["returned"] == len(answer["events"])
    return [event["timestamp"] for event in answer["events"]]


def test_pages_in_both_directions(server: LocalServer) -> None:
    task = new_task(server)
    write(server, task, *range(1, 8))
    assert moments(server, task, batch_size=3) == [7, 6, 5]
    assert moments(server, task, batch_size=3, order="asc") == [5, 6, 7]
    assert moments(server, task, batch_size=3, from_timestamp=5) == [4, 3, 2]
    assert moments(server, task, batch_size=3, navigate_earlier=False) == [1, 2, 3]
    assert moments(server, task, batch_size=3, navigate_earlier=False, from_timestamp=5) == [6, 7]
    assert moments(server, task, batch_size=2, navigate_earlier=False, order="desc") == [2, 1]
    assert moments(server, task, from_timestamp=1) == []
    assert server.api("events.get_task_log", task=task, batch_size=1)["total"] == 7


def test_a_page_ends_with_a_whole_millisecond(server: LocalServer) -> None:
    task = new_task(server)
    write(server, task, 1, 2, 2, 2, 3)
    assert moments(server, task, batch_size=2) == [3, 2, 2, 2]
    assert moments(server, task, batch_size=2, navigate_earlier=False) == [1, 2, 2, 2]


def test_lines_are_never_merged_and_stay_in_order(server: LocalServer) -> None:
    task = new_task(server)
    same = {"type": "log", "task": task, "timestamp": 5, "msg": "same", "level": "INFO", "worker": "w"}
    server.events(same, same)
    server.events({**same, "msg": "a\nb"}, same)
    events = server.api("events.get_task_log", task=task, order="asc")["events"]
    assert [event["msg"] for event in events] == ["same", "same", "a\nb", "same"]
    assert {event["worker"] for event in events} == {"w"}
    assert events[0].keys() == {"type", "task", "timestamp", "msg", "level", "worker", "@timestamp"}


def test_the_worker_is_the_sender_unless_the_event_names_one(server: LocalServer) -> None:
    task = new_task(server)
    server.api("debug.ping")
    event = {"type": "log", "task": task, "msg": "x"}
    headers = {"Authorization": f"Bearer {server._token}", "X-Trains-Worker": "host:1"}
    server.call("events.add_batch", [event], headers)
    assert server.api("events.get_task_log", task=task)["events"][0]["worker"] == "host:1"


def test_an_empty_console(server: LocalServer) -> None:
    task = new_task(server)
    assert server.api("events.get_task_log", task=task) == {"events": [], "returned": 0, "total": 0}
    with pytest.raises(ApiFailure) as failure:
        server.api("events.get_task_log", task="0" * 32)
    assert failure.value.subcode == 101


def download(server: LocalServer, query: str) -> tuple[int, bytes]:
    server.api("debug.ping")
    headers = {"Authorization": f"Bearer {server._token}"}
    return server.request(f"/v999.0/events.download_task_log?{query}", None, headers, "GET")


def test_download_as_text_and_json(server: LocalServer) -> None:
    task = new_task(server)
    write(server, task, 1_700_000_000_000, 1_700_000_001_000, level="INFO", worker="w")
    assert download(server, f"task={task}&line_type=text") == (
        200,
        b"2023-11-14T22:13:20.000+00:00 w INFO line 1700000000000\n"
        b"2023-11-14T22:13:21.000+00:00 w INFO line 1700000001000\n",
    )
    template = "line_format=%7Bmsg%7D%20%7B%7B%7Btimestamp%7D%7D%7D"
    assert download(server, f"task={task}&{template}")[1].startswith(b"line 1700000000000 {1700000000000}\n")
    lines = json.loads(download(server, f"task={task}&line_type=json")[1])
    assert [line["msg"] for line in lines] == ["line 1700000000000", "line 1700000001000"]
    assert json.loads(download(server, f"task={new_task(server)}&line_type=json")[1]) == []


@pytest.mark.parametrize(
    "template", ["{nothing}", "{msg.__class__}", "{msg!r}", "{", "{0}", "{}", "{msg:>9}"]
)
def test_a_line_format_has_known_fields_only(server: LocalServer, template: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("events.download_task_log", task=new_task(server), line_format=template)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_a_long_log_is_downloaded_in_pieces(server: LocalServer) -> None:
    task = new_task(server)
    for start in range(1, 5001, 1000):
        write(server, task, *range(start, start + 1000))
    text = download(server, f"task={task}&line_format=%7Btimestamp%7D")[1]
    assert text == b"".join(b"%d\n" % at for at in range(1, 5001))


def test_clearing(server: LocalServer) -> None:
    task = new_task(server)
    write(server, task, 1, 2, 3)
    write(server, task, 4, metric="agent")
    server.events({"type": "log", "task": task, "msg": "now"})
    assert server.api("events.clear_task_log", task=task, include_metrics=["agent"])["deleted"] == 1
    assert server.api("events.clear_task_log", task=task, threshold_sec=3600)["deleted"] == 3
    answer = server.api("events.get_task_log", task=task)
    assert ([event["msg"] for event in answer["events"]], answer["total"]) == (["now"], 1)
    assert server.api("events.clear_task_log", task=task)["deleted"] == 1
    assert moments(server, task) == []
    write(server, task, 9)
    assert moments(server, task) == [9]


def test_lines_of_some_metrics(server: LocalServer) -> None:
    task = new_task(server)
    write(server, task, 1, metric="a")
    write(server, task, 2, metric="b")
    assert moments(server, task, metrics=[{"metric": "a"}]) == [1]
