"""Debug images and plots by iteration, and one of them in full size."""

from typing import Any

import pytest
from event_tools import new_task

from stepwise_server.testing import ApiFailure, LocalServer


def image(task: str, iteration: int, url: str = "", variant: str = "v", metric: str = "m") -> dict[str, Any]:
    event = {"type": "training_debug_image", "task": task, "metric": metric, "variant": variant}
    return {
        **event,
        "iter": iteration,
        "url": url or f"http://files/{metric}{variant}{iteration}",
        "key": url,
    }


def iterations(answer: dict[str, Any], task: int = 0) -> list[int]:
    return [each["iter"] for each in answer["metrics"][task]["iterations"]]


def test_onwards_from_the_newest(server: LocalServer) -> None:
    task = new_task(server)
    server.events(*[image(task, at) for at in range(5)], image(task, 4, variant="w"))
    request = {"metrics": [{"task": task}], "iters": 2}
    page = server.api("events.debug_images", **request)
    assert iterations(page) == [4, 3]
    assert [event["variant"] for event in page["metrics"][0]["iterations"][0]["events"]] == ["v", "w"]
    scroll = page["scroll_id"]
    seen = [iterations(server.api("events.debug_images", **request, scroll_id=scroll)) for _ in range(3)]
    assert seen == [[2, 1], [0], []]
    later = {**request, "scroll_id": scroll, "navigate_earlier": False}
    assert iterations(server.api("events.debug_images", **later)) == []
    server.events(*[image(task, at) for at in (5, 6, 7)])
    assert iterations(server.api("events.debug_images", **later)) == [6, 5]
    assert iterations(server.api("events.debug_images", **later)) == [7]
    assert iterations(server.api("events.debug_images", **request, scroll_id=scroll, refresh=True)) == [7, 6]


def test_each_task_is_in_the_answer(server: LocalServer) -> None:
    first, second = new_task(server), new_task(server)
    server.events(image(second, 3))
    page = server.api("events.debug_images", metrics=[{"task": first}, {"task": second, "metric": "m"}])
    assert [each["task"] for each in page["metrics"]] == [first, second]
    assert (iterations(page), iterations(page, 1)) == ([], [3])
    page = server.api("events.debug_images", metrics=[{"task": second, "metric": "m", "variants": ["none"]}])
    assert page["metrics"] == [{"task": second, "iterations": []}]


def test_recycled_files_are_hidden(server: LocalServer) -> None:
    """The client writes to three files in turn; the newest event is of the second."""
    task = new_task(server)
    server.events(*[image(task, at, f"http://files/{at % 3}") for at in range(8)])
    server.events(image(task, 0, variant="once"))
    page = server.api("events.debug_images", metrics=[{"task": task}], iters=100)
    assert iterations(page) == [7, 6, 5, 0]
    assert [event["variant"] for event in page["metrics"][0]["iterations"][-1]["events"]] == ["once"]


def test_one_image_of_a_variant_is_shown(server: LocalServer) -> None:
    task = new_task(server)
    server.events(
        {**image(task, 0, "http://a"), "timestamp": 1}, {**image(task, 0, "http://b"), "timestamp": 2}
    )
    events = server.api("events.debug_images", metrics=[{"task": task}])["metrics"][0]["iterations"][0][
        "events"
    ]
    assert [event["url"] for event in events] == ["http://b"]


def test_plots_by_iteration(server: LocalServer) -> None:
    task = new_task(server)
    plot = {"type": "plot", "task": task, "metric": "p", "variant": "v", "plot_str": "{}"}
    server.events({**plot, "iter": 1}, {**plot, "iter": 2})
    page = server.api("events.plots", metrics=[{"task": task}])
    assert iterations(page) == [2]
    assert iterations(server.api("events.plots", metrics=[{"task": task}], scroll_id=page["scroll_id"])) == [
        1
    ]


def test_image_samples(server: LocalServer) -> None:
    task = new_task(server)
    for metric in "mn":
        server.events(*[image(task, at, variant=v, metric=metric) for at in (1, 2) for v in "ab"])

    def shown(answer: dict[str, Any]) -> tuple[Any, ...] | None:
        event = answer["event"]
        return event and (event["metric"], event["variant"], event["iter"])

    first = server.api("events.get_debug_image_sample", task=task, metric="m", variant="b")
    assert shown(first) == ("m", "b", 2)
    assert (first["min_iteration"], first["max_iteration"]) == (1, 2)
    step = {"task": task, "scroll_id": first["scroll_id"]}
    walk = [
        shown(server.api("events.next_debug_image_sample", **step, navigate_earlier=True)) for _ in range(4)
    ]
    assert walk == [("m", "a", 2), ("m", "b", 1), ("m", "a", 1), None]
    assert shown(server.api("events.next_debug_image_sample", **step, navigate_earlier=False)) == (
        "m",
        "b",
        1,
    )
    up = server.api("events.next_debug_image_sample", **step, navigate_earlier=False, next_iteration=True)
    assert shown(up) == ("m", "b", 2)
    request = {"task": task, "metric": "m", "variant": "b", "iteration": 1, "navigate_current_metric": False}
    all_metrics = server.api("events.get_debug_image_sample", **request)
    assert shown(all_metrics) == ("m", "b", 1)
    step["scroll_id"] = all_metrics["scroll_id"]
    assert shown(server.api("events.next_debug_image_sample", **step, navigate_earlier=False)) == (
        "n",
        "a",
        1,
    )


def test_samples_that_are_not_there(server: LocalServer) -> None:
    task = new_task(server)
    answer = server.api("events.get_debug_image_sample", task=task, metric="m", variant="b")
    assert (answer["event"], answer["min_iteration"]) == (None, None)
    with pytest.raises(ApiFailure) as failure:
        server.api("events.next_debug_image_sample", task=task, scroll_id="gone")
    assert (failure.value.code, failure.value.subcode) == (400, 1104)


def test_plot_samples(server: LocalServer) -> None:
    task = new_task(server)
    plot = {"type": "plot", "task": task, "plot_str": "{}"}
    server.events(*[{**plot, "metric": "p", "variant": v, "iter": at} for at in (1, 2) for v in "ab"])
    server.events({**plot, "metric": "q", "variant": "c", "iter": 2})
    first = server.api("events.get_plot_sample", task=task, metric="p", navigate_current_metric=False)
    assert [event["variant"] for event in first["events"]] == ["a", "b"]
    step = {"task": task, "scroll_id": first["scroll_id"]}
    following = server.api("events.next_plot_sample", **step, navigate_earlier=False)
    assert [(event["metric"], event["iter"]) for event in following["events"]] == [("q", 2)]
    before = server.api("events.next_plot_sample", **step, navigate_earlier=True)
    assert [(event["metric"], event["iter"]) for event in before["events"]] == [("p", 2), ("p", 2)]
