"""Curves: bucketing as clients expect it, from all points or from blocks."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from event_tools import SINGLE_VALUE, chart, new_task, report, scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_server.store import folding, scalars
from stepwise_server.store.charts import ROWS, curves, series_of
from stepwise_server.testing import ApiFailure, LocalServer


@contextmanager
def early_folding() -> Iterator[None]:
    """Make blocks of 64 points already; longer ones where there are gaps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scalars, "FOLD_POINTS", 64)
        yield


def buckets(points: dict[int, float], interval: int) -> tuple[list[int], list[float]]:
    """Return x and y of points by iteration: a plain model of the rule."""
    found = defaultdict(list)
    for at, value in points.items():
        found[math.floor(at / interval) * interval].append(value)
    return sorted(found), [sum(found[x]) / len(found[x]) for x in sorted(found)]


def interval_of(points: dict[int, float], samples: int) -> int:
    """Return the interval that the contract asks for."""
    if len(points) < samples:
        return 1
    return max(1, math.ceil((max(points) - min(points) + 1) / samples))


def test_few_points_are_shown_as_they_are(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, at / 2) for at in range(10)])
    assert chart(server, task) == (list(range(10)), [at / 2 for at in range(10)])


def test_ten_thousand_points_in_two_thousand_buckets(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, float(at)) for at in range(10_000)])
    x, y = chart(server, task, samples=2000)
    assert x == list(range(0, 10_000, 5))
    assert y == [start + 2.0 for start in x]


def test_two_points_far_apart(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(3, 1.0), (1_000_003, 2.0)])
    assert chart(server, task, samples=2) == ([0, 1_000_002], [1.0, 2.0])


@settings(max_examples=60, deadline=None)
@given(
    points=st.dictionaries(st.integers(-3000, 3000), st.floats(-1e6, 1e6), min_size=1, max_size=60),
    samples=st.integers(1, 80),
)
def test_charts_follow_the_rule(server: LocalServer, points: dict[int, float], samples: int) -> None:
    task = new_task(server)
    report(server, task, points.items())
    x, y = chart(server, task, samples=samples)
    wanted_x, wanted_y = buckets(points, interval_of(points, samples))
    assert x == wanted_x
    assert y == pytest.approx(wanted_y, rel=1e-9, abs=1e-6)


RUNS = st.lists(
    st.tuples(st.integers(-50, 600), st.integers(1, 400), st.sampled_from([1, -1, 7, 40])),
    min_size=1,
    max_size=8,
)
"""Runs that report to the same series: first iteration, number of points, step."""


@settings(max_examples=40, deadline=None)
@given(runs=RUNS, scale=st.sampled_from([1, 100]), samples=st.integers(1, 30))
def test_blocks_give_the_means_of_all_points(
    server: LocalServer, runs: list[tuple[int, int, int]], scale: int, samples: int
) -> None:
    """Whatever order points come in and are overwritten, each bucket is the mean of the points in it."""
    task, points = new_task(server), {}
    with early_folding():
        for number, (start, count, step) in enumerate(runs):
            batch = {(start + step * at) * scale: float(number + at) for at in range(count)}
            report(server, task, batch.items())
            points |= batch
    x, y = chart(server, task, samples=samples)
    least = interval_of(points, samples)
    widths = [1 << shift for shift in range(3, 40, 2) if 8 << shift <= least]
    possible = [buckets(points, interval) for interval in [least, *(-(-least // w) * w for w in widths)]]
    assert any(x == wanted_x and y == pytest.approx(wanted_y) for wanted_x, wanted_y in possible)


def blocks_of(server: LocalServer, task: str) -> dict[tuple[int, int], tuple[int, float, int]]:
    """Return the blocks of a task's series by level and block."""
    rows = server.services.database.read(
        lambda tx: tx.execute(
            """SELECT level, block, scalar_blocks.count, total, timestamp FROM scalar_blocks
               JOIN series ON series.id = series WHERE owner = ?""",
            [task],
        ).fetchall()
    )
    return {(level, block): (count, total, moment) for level, block, count, total, moment in rows}


def true_blocks(server: LocalServer, task: str) -> dict[tuple[int, int], tuple[int, float, int]]:
    """Return what the blocks should be, computed from the points before `folded_to`."""
    rows, shift = server.services.database.read(
        lambda tx: (
            tx.execute(
                """SELECT iter, scalars.value, timestamp FROM scalars JOIN series ON series.id = series
                   WHERE owner = ? AND iter < folded_to""",
                [task],
            ).fetchall(),
            tx.value("SELECT shift FROM series WHERE owner = ?", [task]),
        )
    )
    found: dict[tuple[int, int], tuple[int, float, int]] = {}
    for at, value, moment in rows:
        for level in range(folding.LEVELS):
            key = level, at >> (shift + 2 * level)
            count, total, first = found.get(key, (0, 0.0, moment))
            found[key] = count + 1, total + value, min(first, moment)
    return found


@settings(max_examples=40, deadline=None)
@given(runs=RUNS)
def test_blocks_are_the_sums_of_their_points(server: LocalServer, runs: list[tuple[int, int, int]]) -> None:
    task = new_task(server)
    with early_folding():
        for number, (start, count, step) in enumerate(runs):
            report(server, task, [(start + step * at, float(number + at)) for at in range(count)])
    assert blocks_of(server, task) == true_blocks(server, task)


def test_a_restarted_run_overwrites_cheaply(server: LocalServer) -> None:
    """The blocks of what is reported again are recomputed, and no others."""
    task = new_task(server)
    report(server, task, [(at, 1.0) for at in range(20_000)])
    written: list[int] = []
    for start in range(0, 20_000, 1000):
        before = server.services.database.write(lambda tx: tx.value("SELECT total_changes()"))
        report(server, task, [(at, 2.0) for at in range(start, start + 1000)])
        after = server.services.database.write(lambda tx: tx.value("SELECT total_changes()"))
        written.append(after - before)
    # 1000 points, their 125 + 32 + 8 + … blocks, the series, the task, its statistics; now and then 8192 are folded
    assert sorted(written)[-3] < 1300
    assert max(written) < 12_000
    assert blocks_of(server, task) == true_blocks(server, task)
    x, y = chart(server, task, samples=100)
    assert x[:2] == [0, 200]
    assert set(y) == {2.0}


def test_large_intervals_are_whole_blocks(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, float(at)) for at in range(20_000)])
    x, y = chart(server, task, samples=100)  # 200 is a multiple of 8
    assert x == list(range(0, 20_000, 200))
    assert y == pytest.approx([start + 99.5 for start in x])
    x, y = chart(server, task, samples=20)  # 1000, in blocks of 32: 1024
    assert x == list(range(0, 20_000, 1024))
    assert y[:-1] == pytest.approx([start + 511.5 for start in x[:-1]])


def test_charts_over_time(server: LocalServer) -> None:
    task = new_task(server)
    origin = 1_700_000_000_000
    server.events(*[scalar(task, at, float(at), timestamp=origin + at * 1000) for at in range(10)])
    assert chart(server, task, key="timestamp")[0] == [origin + at * 1000 for at in range(10)]
    assert chart(server, task, key="iso_time")[0][1] == "2023-11-14T22:13:21.000+00:00"
    moments = {origin + at * 1000: float(at) for at in range(10)}
    assert chart(server, task, key="timestamp", samples=5) == buckets(moments, 1801)


def test_charts_over_time_from_blocks(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, float(at)) for at in range(20_000)])
    x, y = chart(server, task, key="timestamp", samples=50)
    origin = 1_700_000_000_000
    assert len(x) in (50, 51)
    assert all(start % 400 == 0 for start in x)
    # A block of 32 counts where it begins, so a mean may be off by half a block.
    assert y[1:-1] == pytest.approx([start - origin + 199.5 for start in x[1:-1]], abs=33)


def test_single_values_are_in_no_chart(server: LocalServer) -> None:
    task = new_task(server)
    server.events(scalar(task, SINGLE_VALUE, 0.9, metric="Summary", variant="accuracy"))
    assert server.api("events.scalar_metrics_iter_histogram", task=task) == {}
    server.events(scalar(task, SINGLE_VALUE, 0.9), scalar(task, 1, 2.0))
    assert chart(server, task) == ([1], [2.0])
    found = server.api("events.get_task_single_value_metrics", tasks=[task, new_task(server)])["tasks"]
    assert [each["task"] for each in found] == [task]
    assert [(each["metric"], each["variant"], each["value"]) for each in found[0]["values"]] == [
        ("Summary", "accuracy", 0.9),
        ("loss", "train", 0.9),
    ]
    raw = server.api("events.scalar_metrics_iter_raw", task=task, metric={"metric": "loss"}, count_total=True)
    assert (raw["total"], raw["variants"]) == (1, {"train": {"y": [2.0], "iter": [1]}})


def test_metrics_are_sorted_filtered_and_labelled(server: LocalServer) -> None:
    task = new_task(server)
    server.events(
        scalar(task, 0, 1.0, metric="z"),
        scalar(task, 0, 1.0, metric="a", variant="2", x_axis_label="epochs"),
        scalar(task, 0, 1.0, metric="a", variant="1"),
    )
    found = server.api("events.scalar_metrics_iter_histogram", task=task)
    assert [(metric, list(variants)) for metric, variants in found.items()] == [
        ("a", ["1", "2"]),
        ("z", ["train"]),
    ]
    assert found["a"]["2"] == {"name": "2", "x": [0], "y": [1.0], "x_axis_label": "epochs"}
    wanted = [{"metric": "a", "variants": ["2"]}, {"metric": "none", "variants": None}]
    found = server.api("events.scalar_metrics_iter_histogram", task=task, metrics=wanted)
    assert {metric: list(variants) for metric, variants in found.items()} == {"a": ["2"]}


def test_similar_series_share_the_larger_interval(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, 1.0) for at in range(2000)])
    report(server, task, [(at, 1.0) for at in range(1900)], variant="almost")
    report(server, task, [(at, 1.0) for at in range(1000)], variant="half")
    found = server.api("events.scalar_metrics_iter_histogram", task=task, samples=100)["loss"]
    assert {name: curve["x"][1] for name, curve in found.items()} == {"train": 20, "almost": 20, "half": 10}


def test_several_tasks(server: LocalServer) -> None:
    first, second = new_task(server), new_task(server)
    report(server, first, [(0, 1.0)])
    report(server, second, [(0, 2.0), (1, 3.0)], variant="other")
    report(server, second, [(0, 2.0)])
    found = server.api("events.multi_task_scalar_metrics_iter_histogram", tasks=[first, second])["metrics"]
    assert found == {
        "loss": {
            "other": {second: {"name": "a task", "x": [0, 1], "y": [2.0, 3.0]}},
            "train": {
                first: {"name": "a task", "x": [0], "y": [1.0]},
                second: {"name": "a task", "x": [0], "y": [2.0]},
            },
        }
    }


def test_many_curves_at_once_read_coarser_blocks(server: LocalServer) -> None:
    """An interval of 50 reads all points of one curve; where that is too much, blocks of 8, in buckets of 56."""
    task = new_task(server)
    report(server, task, [(at, float(at)) for at in range(20_000)])

    def shown(most_rows: int) -> list[int]:
        found = server.services.database.read(
            lambda tx: curves(tx, series_of(tx, task), 400, "iter", most_rows)
        )
        return list(found[0].x[:2])

    assert shown(ROWS) == [0, 50]
    assert shown(10_000) == [0, 56]


def test_raw_points_page_by_page(server: LocalServer) -> None:
    task = new_task(server)
    report(server, task, [(at, float(at)) for at in range(7)])
    report(server, task, [(at, float(-at)) for at in range(5)], variant="other")
    request: dict[str, Any] = {
        "task": task,
        "metric": {"metric": "loss"},
        "batch_size": 4,
        "count_total": True,
    }
    found: dict[str, list[float]] = {"train": [], "other": []}
    returned, scroll = [], None
    while not returned or returned[-1]:
        page = server.api("events.scalar_metrics_iter_raw", **request, scroll_id=scroll)
        assert page["total"] == 12
        for variant, points in page["variants"].items():
            assert len(points["iter"]) == len(points["y"])
            found[variant] += points["y"]
        returned, scroll = [*returned, page["returned"]], page["scroll_id"]
    assert returned == [4, 4, 4, 0]
    assert found == {"train": [float(at) for at in range(7)], "other": [float(-at) for at in range(5)]}
    page = server.api(
        "events.scalar_metrics_iter_raw",
        task=task,
        metric={"metric": "loss", "variants": ["train"]},
        key="timestamp",
    )
    assert "total" not in page
    assert page["variants"]["train"]["timestamp"][0] == 1_700_000_000_000


@pytest.mark.parametrize(
    ("endpoint", "params", "subcode"),
    [
        ("scalar_metrics_iter_histogram", {"samples": 0}, 12),
        ("scalar_metrics_iter_histogram", {"samples": 6001}, 12),
        ("scalar_metrics_iter_histogram", {"key": "epoch"}, 12),
        ("scalar_metrics_iter_histogram", {"task": "0" * 32}, 101),
        ("scalar_metrics_iter_histogram", {"task": "0" * 32, "model_events": True}, 201),
        ("scalar_metrics_iter_raw", {"metric": {}}, 11),
        ("scalar_metrics_iter_raw", {"metric": {"metric": "loss"}, "batch_size": 200_001}, 12),
        ("scalar_metrics_iter_raw", {"scroll_id": "x"}, 1104),
        ("multi_task_scalar_metrics_iter_histogram", {"tasks": None}, 11),
    ],
)
def test_refused_queries(server: LocalServer, endpoint: str, params: dict[str, Any], subcode: int) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api(f"events.{endpoint}", **{"task": new_task(server), **params})
    assert (failure.value.code, failure.value.subcode) == (400, subcode)


def test_extreme_iterations_and_values_do_no_harm(server: LocalServer) -> None:
    task = new_task(server)
    ends = [SINGLE_VALUE + 1, (1 << 63) - 1]
    with early_folding():
        server.events(*[scalar(task, at, 1e308 * (-1) ** at) for at in [*ends, *range(0, 1 << 40, 1 << 32)]])
        server.events(
            scalar(task, 1, 1.7e308, timestamp=-(1 << 63)), scalar(task, 2, 1.7e308, timestamp=(1 << 63) - 1)
        )
    for key in ("iter", "timestamp", "iso_time"):
        for samples in (1, 10, 6000):
            x, y = chart(server, task, key=key, samples=samples)
            assert len(x) == len(y) > 0
