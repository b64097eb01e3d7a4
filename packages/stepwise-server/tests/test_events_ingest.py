"""events.add_batch: what is accepted, what is refused, and what it does to tasks and models."""

import http.client
import json
import time
from typing import Any

import pytest
from event_tools import SINGLE_VALUE, chart, new_model, new_task, report, scalar, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_server.errors import ApiError
from stepwise_server.store.database import Transaction
from stepwise_server.store.series import series_ids
from stepwise_server.testing import ApiFailure, LocalServer

LOSS, TRAIN = "81513effdf5790b79549208838404407", "61b3a8faa9c1091806675c230a9abe64"


def send(server: LocalServer, body: bytes, method: str = "POST") -> dict:
    """Send a body as it is to add_batch."""
    server.api("debug.ping")
    headers = {"Authorization": f"Bearer {server._token}", "Content-Type": "application/json-lines"}
    _, answer = server.request("/v2.23/events.add_batch", body, headers, method)
    return json.loads(answer)


def test_a_line_as_the_sdk_sends_it_with_get(server: LocalServer) -> None:
    task = new_task(server)
    event = scalar(task, 0, 0.5, allow_locked=False, model_event=False, method="get")
    answer = send(server, json.dumps(event).encode(), method="GET")
    assert answer["data"] == {"added": 1, "errors": 0, "errors_info": {}}
    assert chart(server, task) == ([0], [0.5])


def test_one_object_over_several_lines_is_a_batch_of_one(server: LocalServer) -> None:
    task = new_task(server)
    text = json.dumps(scalar(task, 0, 1), indent=2)
    for body in (text, text.replace("{\n", "{")):
        assert send(server, body.encode())["data"] == {"added": 1, "errors": 0, "errors_info": {}}


def test_add_takes_one_event_as_its_parameters(server: LocalServer) -> None:
    task = new_task(server)
    assert server.api("events.add", **scalar(task, 3, 1.5))["added"] == 1
    assert chart(server, task) == ([3], [1.5])


def test_cells_of_last_metrics(server: LocalServer) -> None:
    task = new_task(server)
    server.events(*[scalar(task, at, value) for at, value in [(0, 3.0), (2, 5.0), (1, 1.0)]])
    cell = task_of(server, task)["last_metrics"][LOSS][TRAIN]
    expected = {"metric": "loss", "variant": "train", "count": 3, "mean_value": 3.0}
    expected |= {"value": 5.0, "min_value": 1.0, "min_value_iteration": 1}
    expected |= {"max_value": 5.0, "max_value_iteration": 2, "first_value": 3.0, "first_value_iteration": 0}
    assert cell == expected
    server.events(
        scalar(task, 1, 4.0, x_axis_label="epochs")
    )  # a later batch decides `value`, whatever its iteration
    cell = task_of(server, task)["last_metrics"][LOSS][TRAIN]
    assert cell == {**expected, "value": 4.0, "count": 4, "mean_value": 3.25, "x_axis_label": "epochs"}


def test_metric_stats_and_the_stamps_of_the_task(server: LocalServer) -> None:
    task = new_task(server)
    before = task_of(server, task)
    server.events(scalar(task, 7, 1.0), {"type": "log", "task": task, "msg": "hello"})
    after = task_of(server, task)
    assert after["last_iteration"] == 7
    assert after["last_update"] == after["last_change"] > before["last_update"]
    assert after["status"] == "created"
    assert after["metric_stats"][LOSS] == {
        "metric": "loss",
        "event_stats_by_type": {"training_stats_scalar": {"last_update": after["last_update"]}},
    }


def test_active_duration_of_a_running_task(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.started", task=task)
    server.events(scalar(task, 0, 1.0))
    assert task_of(server, task)["active_duration"] >= 0


def test_last_iteration_is_the_highest_of_what_counts(server: LocalServer) -> None:
    task = new_task(server)
    server.events(scalar(task, -5, 1.0), scalar(task, SINGLE_VALUE, 1.0, metric="Summary"))
    assert task_of(server, task)["last_iteration"] == 0
    server.events(scalar(task, 10, 1.0), scalar(task, 9000, 1.0, metric=":monitor:machine"))
    server.events(scalar(task, 9000, 1.0, metric=":monitor:gpu"), scalar(task, 4, 1.0))
    assert task_of(server, task)["last_iteration"] == 10


def test_an_iteration_reported_again_replaces_the_first(server: LocalServer) -> None:
    task = new_task(server)
    server.events(scalar(task, 1, 1.0), scalar(task, 2, 2.0), scalar(task, 1, 9.0))
    server.events(scalar(task, 2, 8.0))
    assert chart(server, task) == ([1, 2], [9.0, 8.0])
    picture = {
        "type": "training_debug_image",
        "task": task,
        "metric": "m",
        "variant": "v",
        "iter": 1,
        "key": "k",
    }
    server.events({**picture, "url": "http://a/1"}, {**picture, "url": "http://a/2"})
    server.events({**picture, "url": "http://a/3"}, {**picture, "url": "http://a/4", "key": "other"})
    events = server.api("events.get_task_events", task=task, event_type="training_debug_image")["events"]
    assert [(event["key"], event["url"]) for event in events] == [
        ("k", "http://a/3"),
        ("other", "http://a/4"),
    ]


def test_older_names_and_loose_types(server: LocalServer) -> None:
    task = new_task(server)
    answer = server.events(
        {"type": "training stats scalar", "task": task, "iter": "5", "values": 2, "ts": 1_700_000_000_000.0},
        {"type": "training_stats_scalar", "task": task, "iter": 6.0, "value": 3, "metric": None},
    )
    assert answer["added"] == 2
    events = server.api("events.get_task_events", task=task)["events"]
    assert [(event["iter"], event["value"], event["metric"]) for event in events] == [
        (5, 2.0, ""),
        (6, 3.0, ""),
    ]
    assert events[0]["timestamp"] == 1_700_000_000_000
    assert abs(events[1]["timestamp"] / 1000 - time.time()) < 60


def test_refused_events_do_not_hinder_the_others(server: LocalServer) -> None:
    task = new_task(server)
    lines = [
        scalar(task, 0, 1.0),
        {"task": task, "value": 1},
        {"type": "nonsense", "task": task},
        {"type": "training_stats_scalar", "value": 1},
        scalar("f" * 32, 0, 1.0),
        scalar(task, 1 << 63, 1.0),
        scalar(task, 1, True),
        {"type": "training_stats_scalar", "task": task, "iter": 2},
        {"type": "log", "task": task},
        {"type": "training_debug_image", "task": task},
        {"type": "plot", "task": task},
        {"type": "training_stats_vector", "task": task, "values": ["a"]},
        ["no", "object"],
    ]
    body = (
        "\n".join(json.dumps(line) for line in lines) + '\n{"broken\n' + json.dumps(scalar(task, 1, 1)) + "\n"
    )
    body += (
        json.dumps(scalar(task, 2, float("nan"))) + "\n" + json.dumps(scalar(task, 2, float("inf"))) + "\n"
    )
    answer = send(server, body.encode() + b'{"type":"log","task":"' + task.encode() + b'","msg":"\xff"}')
    assert answer["meta"]["result_code"] == 200
    assert answer["data"]["added"] == 2
    assert answer["data"]["errors"] == len(lines) - 1 + 4 == sum(answer["data"]["errors_info"].values())
    assert chart(server, task) == ([0, 1], [1.0, 1.0])


def test_a_batch_of_which_nothing_is_accepted(server: LocalServer) -> None:
    with pytest.raises(ApiFailure, match=r"Events not added: Invalid task id.*=2") as failure:
        server.events(scalar("0" * 32, 1, 1.0), scalar("0" * 32, 2, 1.0))
    assert (failure.value.code, failure.value.subcode) == (400, 131)
    answer = send(server, b"\n  \n")
    assert (answer["meta"]["result_code"], answer["meta"]["result_subcode"]) == (400, 17)


def test_a_published_task_takes_events_only_with_allow_locked(server: LocalServer) -> None:
    task = new_task(server)
    server.api("tasks.started", task=task)
    server.api("tasks.publish", task=task, force=True)
    with pytest.raises(ApiFailure, match="published"):
        server.events(scalar(task, 1, 1.0))
    assert server.events(scalar(task, 1, 1.0, allow_locked=True))["added"] == 1
    with pytest.raises(ApiFailure) as failure:
        server.events(scalar(task, 1, 1.0, allow_locked=True), scalar(task, 2, 1.0))
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_events_of_models(server: LocalServer) -> None:
    model, task = new_model(server), new_task(server)
    server.events(
        scalar(model, 4, 2.0, model_event=True),
        {**scalar("", 5, 3.0, model_event=True), "task": None, "model": model},
    )
    found = server.api("models.get_all_ex", id=[model])["models"][0]
    assert found["last_iteration"] == 5
    assert found["last_metrics"][LOSS][TRAIN]["value"] == 3.0
    assert chart(server, model, model_events=True) == ([4, 5], [2.0, 3.0])
    answer = server.events(
        scalar(task, 0, 1.0), {"type": "log", "task": model, "model_event": True, "msg": "x"}
    )
    assert answer["errors"] == 1
    with pytest.raises(ApiFailure, match="published"):
        server.events(scalar(new_model(server, ready=True), 0, 1.0, model_event=True))
    with pytest.raises(ApiFailure) as failure:
        server.events(scalar(task, 0, 1.0), scalar(task, 1, 1.0, model_event=True))
    assert failure.value.subcode == 12


def test_more_metrics_than_are_shown_are_stored_all_the_same(server: LocalServer) -> None:
    task = new_task(server)
    server.events(*[scalar(task, 0, float(at), variant=f"v{at}") for at in range(2100)])
    cells = task_of(server, task)["last_metrics"][LOSS]
    assert len(cells) == 2000
    assert len(server.api("events.get_scalar_metrics_and_variants", task=task)["metrics"]["loss"]) == 2100


def test_a_series_is_made_anew_after_its_events_were_deleted(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(0, 1.0)])
    server.api("events.delete_for_task", task=task)
    report(server, task, [(5, 2.0)])
    assert chart(server, task) == ([5], [2.0])


def test_ids_of_series_that_were_taken_back_are_not_remembered(server: LocalServer) -> None:
    task = new_task(server)

    def fail(tx: Transaction) -> None:
        series_ids(tx, task, [("loss", "train")])
        raise ApiError(400, 12, "taken back")

    with pytest.raises(ApiError):
        server.services.database.write(fail)
    report(server, new_task(server), [(0, 9.0)])  # gets the id that was given back
    report(server, task, [(0, 1.0)])
    assert chart(server, task) == ([0], [1.0])


def test_connection_is_kept_alive(server: LocalServer) -> None:
    server.api("debug.ping")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    task = new_task(server)
    for at in range(3):
        body = json.dumps(scalar(task, at, 1.0)).encode()
        connection.request("GET", "/events.add_batch", body, {"Authorization": f"Bearer {server._token}"})
        assert json.loads(connection.getresponse().read())["data"]["added"] == 1
    connection.close()


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.sampled_from(["", "5", "training stats scalar", "plot", "log", "\x00", "\udc80", "{}", '{"source"']),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["data", "layout", "a"]), st.none(), max_size=2),
)
FIELDS = [
    "type",
    "iter",
    "metric",
    "variant",
    "value",
    "values",
    "timestamp",
    "ts",
    "x_axis_label",
    "worker",
    "level",
]
FIELDS += ["msg", "key", "url", "plot_str", "task", "unknown"]
TYPES = ["training_stats_scalar", "training_stats_vector", "training_debug_image", "plot", "log"]


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), ODD_VALUES, max_size=6)),
        max_size=8,
    )
)
def test_each_line_is_stored_or_refused(server: LocalServer, lines: list[tuple[str, dict[str, Any]]]) -> None:
    task = new_task(server)
    complete = {"task": task, "value": 1, "values": [1], "url": "http://a", "plot_str": "{}", "msg": "m"}
    events = [{**complete, "type": kind, **fields} for kind, fields in lines]
    if not events:
        return
    answer = send(server, "\n".join(json.dumps(event) for event in events).encode())
    assert answer["meta"]["result_code"] in (200, 400)
    if answer["meta"]["result_code"] == 200:
        assert answer["data"]["added"] + answer["data"]["errors"] == len(events)
        stored = server.api("events.get_task_events", task=task)
        assert stored["total"] == stored["returned"] <= answer["data"]["added"]
        server.api("events.scalar_metrics_iter_histogram", task=task)
        server.api("events.get_task_plots", task=task)
        server.api("events.debug_images", metrics=[{"task": task}], iters=10)
    else:
        assert answer["meta"]["result_subcode"] == 131
