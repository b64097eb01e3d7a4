"""Lists of events: everything page by page, plots, metrics and variants."""

from typing import Any

import pytest
from event_tools import new_model, new_task, report, scalar

from stepwise_server.testing import ApiFailure, LocalServer


def plot(task: str, iteration: int, metric: str = "p", variant: str = "v", **fields: Any) -> dict[str, Any]:
    event = {"type": "plot", "task": task, "metric": metric, "variant": variant, "iter": iteration}
    return {**event, "plot_str": '{"data":[]}', "timestamp": iteration, **fields}


def pages(server: LocalServer, **params: Any) -> list[dict[str, Any]]:
    """Return the pages of get_task_events as the SDK reads them: until all `returned` are `total`."""
    found = [server.api("events.get_task_events", **params)]
    while sum(page["returned"] for page in found) < found[0]["total"]:
        assert len(found) < 100
        found.append(server.api("events.get_task_events", **params, scroll_id=found[-1]["scroll_id"]))
    return found


def places(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(event.get("iter"), event["variant"]) for page in found for event in page["events"]]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_scalars_by_iteration(server: LocalServer, size: int, order: str) -> None:
    task = new_task(server)
    report(server, task, [(at, 1.0) for at in (3, 1, 2)], variant="b")
    report(server, task, [(at, 1.0) for at in (2, 1, -4)], variant="a")
    found = pages(server, task=task, event_type="training_stats_scalar", batch_size=size, order=order)
    expected = [(-4, "a"), (1, "b"), (1, "a"), (2, "b"), (2, "a"), (3, "b")]
    assert places(found) == (expected if order == "asc" else expected[::-1])
    after = server.api("events.get_task_events", task=task, scroll_id=found[-1]["scroll_id"])
    assert (after["events"], after["returned"], after["total"]) == ([], 0, 6)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_all_types_together(server: LocalServer, size: int, order: str) -> None:
    task = new_task(server)
    server.events(scalar(task, 1, 1.0), scalar(task, 3, 1.0), plot(task, 2), plot(task, 1))
    server.events(*[{"type": "log", "task": task, "msg": f"{at}", "timestamp": at} for at in (7, 7, 8)])
    found = pages(server, task=task, batch_size=size, order=order)
    expected = [("training_stats_scalar", 1), ("plot", 1), ("plot", 2), ("training_stats_scalar", 3)]
    expected += [("log", None)] * 3
    shown = [(event["type"], event.get("iter")) for page in found for event in page["events"]]
    assert shown == (expected if order == "asc" else expected[::-1])


def test_the_total_stays_while_events_come_and_go(server: LocalServer) -> None:
    task = new_task(server)
    server.events(*[plot(task, at) for at in range(4)])
    first = server.api("events.get_task_events", task=task, event_type="plot", batch_size=2)
    server.events(*[plot(task, at) for at in range(4, 9)])
    second = server.api("events.get_task_events", task=task, scroll_id=first["scroll_id"])
    assert [first["total"], second["total"], second["returned"]] == [4, 4, 2]
    assert [event["iter"] for event in second["events"]] == [2, 3]
    third = server.api("events.get_task_events", task=task, event_type="plot", batch_size=2)
    server.api("events.delete_for_task", task=task)
    last = server.api("events.get_task_events", task=task, scroll_id=third["scroll_id"])
    assert last["events"] == []
    assert third["returned"] + last["returned"] == third["total"] == 9  # else the SDK would ask for ever


def test_filters_and_unknown_scrolls(server: LocalServer) -> None:
    task = new_task(server)
    server.events(scalar(task, 0, 1.0), scalar(task, 0, 1.0, metric="other"), plot(task, 0))
    answer = server.api("events.get_task_events", task=task, metrics=[{"metric": "loss"}])
    assert (answer["total"], answer["returned"]) == (1, 1)
    assert "total" not in server.api("events.get_task_events", task=task, count_total=False)
    with pytest.raises(ApiFailure) as failure:
        server.api("events.get_task_events", task=task, scroll_id="gone")
    assert failure.value.subcode == 1104
    assert server.api("events.clear_scroll", scroll_id=answer["scroll_id"]) == {}
    with pytest.raises(ApiFailure):
        server.api("events.get_task_events", task=task, scroll_id=answer["scroll_id"])
    data = server.api("events.get_scalar_metric_data", task=task, metric="other")
    assert (data["total"], data["events"][0]["metric"]) == (1, "other")


def test_plots_of_a_task(server: LocalServer) -> None:
    task = new_task(server)
    figure = '{"layout":{"images":[{"source":"http://files/a.png"},{"source":"data:image/png;base64,"}]}}'
    server.events(*[plot(task, at) for at in range(3)], plot(task, 0, variant="w", plot_str=figure))
    found = server.api("events.get_task_plots", task=task)
    assert [(event["variant"], event["iter"]) for event in found["plots"]] == [("v", 2), ("w", 0)]
    assert found["returned"] == found["total"] == 2
    assert found["plots"][1]["plot_str"] == figure
    assert found["plots"][1]["plot_len"] == len(figure)
    assert found["plots"][1]["source_urls"] == ["http://files/a.png"]
    found = server.api(
        "events.get_task_plots", task=task, iters=2, metrics=[{"metric": "p", "variants": ["v"]}]
    )
    assert [event["iter"] for event in found["plots"]] == [2, 1]


def test_plots_of_several_tasks_come_once(server: LocalServer) -> None:
    first, second = new_task(server), new_task(server)
    server.events(plot(first, 1), plot(first, 2), plot(second, 5), plot(second, 1, metric="q"))
    page = server.api("events.get_multi_task_plots", tasks=[first, second], iters=1)
    assert {
        metric: {v: list(tasks) for v, tasks in variants.items()}
        for metric, variants in page["plots"].items()
    } == {
        "p": {"v": [first, second]},
        "q": {"v": [second]},
    }
    assert page["plots"]["p"]["v"][first].keys() == {"2"}
    assert page["plots"]["p"]["v"][first]["2"]["name"] == "a task"
    assert page["plots"]["p"]["v"][first]["2"]["plots"][0]["plot_str"] == '{"data":[]}'
    assert page["returned"] == 2
    following = server.api("events.get_multi_task_plots", tasks=[first, second], scroll_id=page["scroll_id"])
    assert (following["plots"], following["returned"]) == ({}, 0)
    whole = server.api("events.get_multi_task_plots", tasks=[second], last_iters_per_task_metric=False)
    assert whole["plots"].keys() == {"p"}


def test_metric_lists(server: LocalServer) -> None:
    task, empty = new_task(server), new_task(server)
    vector = {"type": "training_stats_vector", "task": task, "metric": "h", "variant": "x", "values": [1, 2]}
    server.events(
        scalar(task, 0, 1.0), scalar(task, 0, 1.0, variant="b"), plot(task, 0), {**vector, "iter": 3}
    )

    def metrics(kind: str) -> Any:
        return server.api("events.get_task_metrics", tasks=[task, empty], event_type=kind)["metrics"]

    assert metrics("plot") == [{"task": task, "metrics": ["p"]}, {"task": empty, "metrics": []}]
    assert metrics("all")[0]["metrics"] == ["h", "loss", "p"]
    found = server.api(
        "events.get_multi_task_metrics", tasks=[task, empty], event_type="training_stats_scalar"
    )
    assert found["metrics"] == [{"metric": "loss", "variants": ["b", "train"]}]
    assert len(server.api("events.get_multi_task_metrics", tasks=[task])["metrics"]) == 3
    assert server.api("events.get_scalar_metrics_and_variants", task=task)["metrics"] == {
        "loss": ["b", "train"]
    }
    vectors = server.api("events.get_vector_metrics_and_variants", task=task)["metrics"]
    assert vectors == [{"metric": "h", "variants": ["x"]}]
    histogram = server.api("events.vector_metrics_iter_histogram", task=task, metric="h", variant="x")
    assert (histogram["vectors"], histogram["iterations"]) == ([[1, 2]], [3])
    latest = server.api("events.get_task_latest_scalar_values", task=task)
    assert latest["metrics"][0]["variants"][1]["last_value"] == 1.0
    with pytest.raises(ApiFailure, match="event_type"):
        server.api("events.get_task_metrics", tasks=[task], event_type="nonsense")


def test_events_of_models_are_asked_for_as_such(server: LocalServer) -> None:
    model = new_model(server)
    server.events(plot(model, 1, model_event=True))
    found = server.api("events.get_task_plots", task=model, model_events=True)["plots"]
    assert (found[0]["task"], found[0]["model_event"]) == (model, True)
    with pytest.raises(ApiFailure) as failure:
        server.api("events.get_task_plots", task=model)
    assert failure.value.subcode == 101
