"""The order of rows; pages, parts and scrolls."""

from typing import Any

import pytest
from query_tools import found, found_with, memory, model, task, write

from stepwise_server import limits
from stepwise_server.api.paging import MOST_SCROLLS, Scroll, Scrolls
from stepwise_server.errors import ApiError
from stepwise_server.store.entities import MODEL
from stepwise_server.store.metrics import name_hash
from stepwise_server.testing import ApiFailure, LocalServer


def with_metric(tx: Any, name: str, value: float) -> None:
    owner = task(tx, name)
    tx.execute(
        "INSERT INTO series (owner, metric, variant, metric_hash, variant_hash, count, value)"
        " VALUES (?, 'loss', 'train', ?, ?, 1, ?)",
        [owner, name_hash("loss"), name_hash("train"), value],
    )


def test_rows_without_the_field_come_last_both_ways() -> None:
    with memory() as tx:
        task(tx, "none")
        task(tx, "early", started="2026-01-01T00:00:00.000000+00:00")
        task(tx, "late", started="2026-02-01T00:00:00.000000+00:00")
        assert found(tx, order_by="started") == ["early", "late", "none"]
        assert found(tx, order_by=["-started"]) == ["late", "early", "none"]


def test_metrics_parameters_and_metadata_sort_as_numbers() -> None:
    with memory() as tx:
        for name, value in (("a", "10"), ("b", "9"), ("c", "1e2"), ("d", "word"), ("e", "nan")):
            task(tx, name, hyperparams={"Args": {"lr": {"value": value}}})
        task(tx, "f")
        assert found(tx, order_by="hyperparams.Args.lr.value") == ["b", "a", "c", "e", "d", "f"]
        assert found(tx, order_by="execution.parameters.lr.value")[0] == "b"
        for name, metadata in (("m1", "2"), ("m2", "10")):
            model(tx, name, metadata={"a.b": {"key": "a.b", "type": "int", "value": metadata}})
        assert found(tx, MODEL, order_by="-metadata.a%2Eb.value") == ["m2", "m1"]
    with memory() as tx:
        for name, number in (("low", -2.0), ("high", 1e3), ("middle", 0.5)):
            with_metric(tx, name, number)
        task(tx, "none")
        key = f"last_metrics.{name_hash('loss')}.{name_hash('train')}.value"
        assert found(tx, order_by=key) == ["low", "middle", "high", "none"]
        assert found(tx, order_by="-" + key) == ["high", "middle", "low", "none"]


def test_the_id_decides_between_equals_and_unknown_fields_order_nothing() -> None:
    with memory() as tx:
        for name in ("c", "a", "b"):
            task(tx, name, id=name * 32)
        for order_by in (
            None,
            [],
            ["type"],
            ["-type"],
            ["nonsense"],
            ["@text_score"],
            ["project.name"],
            ["-"],
        ):
            assert found_with(tx, {}, order_by=order_by) == ["a", "b", "c"]
        with pytest.raises(ApiError):
            found_with(tx, {}, order_by=[5])


@pytest.fixture(scope="module")
def rows(server: LocalServer) -> list[str]:
    """Twelve tasks, named in order."""
    made = [f"row {number:02}" for number in range(12)]
    for name in made:
        write(server, task, name)
    return made


def page(server: LocalServer, **params: Any) -> list[str]:
    found = server.api("tasks.get_all", only_fields=["name"], order_by=["name"], **params)["tasks"]
    return [each["name"] for each in found]


def test_pages_until_a_short_one_and_parts(server: LocalServer, rows: list[str]) -> None:
    pages = [page(server, page=number, page_size=5) for number in range(4)]
    assert [len(each) for each in pages] == [5, 5, 2, 0]
    assert [name for each in pages for name in each] == page(server) == rows
    assert page(server, start=3, size=4) == rows[3:7]
    assert page(server, size=1000) == rows


def test_a_page_has_at_most_500_rows_and_is_never_short_before_the_end(server: LocalServer) -> None:
    def fill(tx: Any) -> None:
        for number in range(limits.PAGE_ROWS + 3):
            task(tx, "many", comment=str(number))

    server.services.database.write(fill)
    assert len(page(server, name="many")) == len(page(server, name="many", page_size=9999)) == 500
    assert len(page(server, name="many", page=1, page_size=500)) == 3
    assert len(page(server, name="many", start=0, size=502)) == 502


@pytest.mark.parametrize(
    "params",
    [
        {"page": -1},
        {"page_size": 0},
        {"page": "x"},
        {"scroll_id": None},
        {"scroll_id": None, "size": 0},
        {"scroll_id": None, "size": 1.5},
        {"start": 1},
        {"start": -1, "size": 1},
        {"scroll_id": 5, "size": 1},
    ],
)
def test_wrong_pages_are_400_12(server: LocalServer, params: dict[str, Any]) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("tasks.get_all", **params)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_scrolling_forward_and_refreshing(server: LocalServer, rows: list[str]) -> None:
    def scroll(scroll_id: str | None, **params: Any) -> tuple[str, list[str]]:
        query = {"name": "^row", "order_by": ["name"], "only_fields": ["name"], "size": 5}
        answer = server.api("tasks.get_all_ex", scroll_id=scroll_id, **query, **params)
        return answer["scroll_id"], [each["name"] for each in answer["tasks"]]

    first, names = scroll(None)
    assert names == rows[:5]
    assert scroll(first) == (first, rows[5:10])
    assert scroll(first, refresh_scroll=True) == (first, rows[:10])
    assert scroll(first) == (first, rows[10:])
    assert scroll(first) == (first, [])
    assert scroll(first, refresh_scroll=True) == (first, rows)
    other, again = scroll("unknown")
    assert other not in (first, "unknown")
    assert again == rows[:5]


def test_an_empty_result_has_a_scroll_too(server: LocalServer) -> None:
    answer = server.api("tasks.get_all_ex", scroll_id=None, size=15, name="^nothing$")
    assert answer["tasks"] == []
    assert answer["scroll_id"]


def test_positions_expire_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    scrolls = Scrolls()
    for number in range(MOST_SCROLLS + 1):
        scrolls.keep(Scroll(str(number), 7))
    assert scrolls.find("0").position == 0
    assert scrolls.find("1").position == 7
    monkeypatch.setattr(limits, "SCROLL_SECONDS", -1.0)
    scrolls.keep(Scroll("1", 8))
    assert scrolls.find("1").id != "1"
