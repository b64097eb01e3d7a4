"""Patterns, ranges, dates, equality, several fields at once, what is hidden, projects with those below."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_tools import found, found_with, memory, model, project, task

from stepwise_server.errors import ApiError
from stepwise_server.store.entities import MODEL, PROJECT, TASK
from stepwise_server.store.metrics import name_hash

MAY, JUNE, JULY = (f"2026-0{month}-01T00:00:00.000000+00:00" for month in (5, 6, 7))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("default", ["default", "my default 2"]),
        ("Default", []),
        ("(?i)DEFAULT", ["default", "my default 2"]),
        ("^default$", ["default"]),
        (r"^My\ Proj/sub\ ü$", ["My Proj/sub ü"]),
        (r"\.datasets/", ["P1/.datasets/x"]),
        (r"^pipe(| #\d+)$", ["pipe", "pipe #12"]),
        ("100%", ["100% _x_"]),
        ("", ["100% _x_", "My Proj/sub ü", "P1/.datasets/x", "default", "my default 2", "pipe", "pipe #12"]),
    ],
)
def test_names_are_searched_for_patterns(pattern: str, expected: list[str]) -> None:
    with memory() as tx:
        for name in (
            "default",
            "my default 2",
            "My Proj/sub ü",
            "P1/.datasets/x",
            "pipe",
            "pipe #12",
            "100% _x_",
        ):
            task(tx, name)
        assert found(tx, name=pattern) == expected


NAMES = ["abc", "a.c", "ABC", "a%c", "a_c", "a\\c", "äbc", "[a]", "a c", "abc abc"]


@given(st.sampled_from(NAMES), st.booleans(), st.booleans())
def test_escaped_text_means_what_a_regular_expression_means(
    text: str, anchored: bool, any_case: bool
) -> None:
    pattern = f"^{re.escape(text)}$" if anchored else re.escape(text)
    flags = re.IGNORECASE if any_case else re.NOFLAG
    expected = sorted(name for name in NAMES if re.search(pattern, name, flags))
    with memory() as tx:
        for name in NAMES:
            task(tx, name)
        if any_case:
            assert sorted(found(tx, _any_={"fields": ["name"], "pattern": pattern})) == expected
        else:
            assert sorted(found(tx, name=pattern)) == expected


@pytest.mark.parametrize("pattern", ["(", "[", "(?P<x", "a" * 5000])
def test_malformed_patterns_are_400_21(pattern: str) -> None:
    with memory() as tx, pytest.raises(ApiError) as failure:
        found(tx, name=pattern)
    assert (failure.value.code, failure.value.subcode) == (400, 21)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([1, 2], ["one", "two"]),
        ([2, None], ["two"]),
        ([None, 1], ["none", "one"]),
        ([1.5, 7], ["two"]),
    ],
)
def test_ranges_include_both_ends_and_open_below_what_is_missing(
    limits: list[Any], expected: list[str]
) -> None:
    with memory() as tx:
        for name, seconds in (("none", None), ("one", 1), ("two", 2)):
            task(tx, name, active_duration=seconds)
        assert found(tx, active_duration=limits) == expected


@pytest.mark.parametrize("limits", [[None, None], [1], [1, 2, 3], 5, ["a", "b"], {"min": 1}, [True, 2]])
def test_what_is_no_range_is_400_12(limits: Any) -> None:
    with memory() as tx, pytest.raises(ApiError) as failure:
        found(tx, active_duration=limits)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_ranges_of_dates_and_of_metrics() -> None:
    with memory() as tx:
        for name, moment in (("may", MAY), ("june", JUNE), ("july", JULY)):
            owner = task(tx, name, started=moment)
            tx.execute(
                "INSERT INTO series (owner, metric, variant, metric_hash, variant_hash, count, value)"
                " VALUES (?, 'loss', 'train', ?, ?, 1, ?)",
                [owner, name_hash("loss"), name_hash("train"), len(name)],
            )
        task(tx, "never")
        assert found(tx, started=["2026-05-15", "2026-06-15T10:00:00+02:00"]) == ["june"]
        assert found(tx, started=[None, "2026-05-15"]) == ["may", "never"]
        assert found(tx, started=[">2026-05-15", "<=2026-07-01"]) == ["july", "june"]
        key = f"last_metrics.{name_hash('loss')}.{name_hash('train')}.value"
        assert found_with(tx, {key: [3.5, None]}) == ["july", "june"]
        assert found_with(tx, {key: [None, 3]}) == ["may", "never"]
        assert found_with(tx, {f"last_metrics.x.y.{'value; DROP TABLE tasks'}": [0, 1]}) == []


@pytest.mark.parametrize(
    ("given_dates", "expected"),
    [
        (">2026-05-15T00:00:00", ["july", "june"]),
        ([">=2026-06-01", "<2026-07-01T00:00:00"], ["june"]),
        ("2026-06-01", ["june"]),
        ([">2026-06-01", "no date"], ["july"]),
        (["2026-05-20", "2026-06-20"], ["june"]),
        (["no date"], ["july", "june", "may"]),
    ],
)
def test_dates_are_compared_with_operators(given_dates: Any, expected: list[str]) -> None:
    with memory() as tx:
        for name, moment in (("may", MAY), ("june", JUNE), ("july", JULY)):
            task(tx, name, last_update=moment)
        assert found(tx, last_update=given_dates) == expected


def test_one_of_several_fields_or_all_of_them() -> None:
    with memory() as tx:
        one = task(
            tx, "Alpha", comment="beta", tags=["gamma"], models={"input": [], "output": [{"model": "m5"}]}
        )
        task(tx, "beta", runtime={"pipeline_job_hash": "deadbeef"}, last_update=MAY, last_change=JULY)
        any_of = {"fields": ["name", "comment", "tags"], "pattern": "ALPHA|GAMMA"}
        assert found(tx, _any_=any_of) == found(tx, _or_=any_of) == ["Alpha"]
        assert found(tx, _all_={"fields": ["name", "comment"], "pattern": "BETA"}) == []
        assert found(tx, _any_={"fields": ["id", "name"], "pattern": one[:12]}) == ["Alpha"]
        assert found(tx, _any_={"fields": ["models.output.model"], "pattern": "M5"}) == ["Alpha"]
        assert found(tx, _all_={"fields": ["runtime.pipeline_job_hash"], "pattern": "^deadbeef$"}) == ["beta"]
        both = {"_any_": {"fields": ["name"], "pattern": "a"}, "_all_": {"fields": ["name"], "pattern": "^b"}}
        assert found(tx, **both) == ["beta"]
        dates = {"fields": ["last_update", "last_change"], "datetime": [">2026-06-15"]}
        assert found(tx, _or_=dates) == ["Alpha", "beta"]
        assert found(tx, _and_=dates) == ["Alpha"]
        assert found(tx, _any_={"fields": [], "pattern": "zzz"}) == ["Alpha", "beta"]


@pytest.mark.parametrize(
    "condition",
    [
        {"fields": ["name"]},
        {"fields": ["name"], "pattern": "a", "datetime": [">2026-01-01"]},
        {"fields": 5, "pattern": "a"},
        {"fields": ["name"], "pattern": 5},
        "name",
    ],
)
def test_conditions_of_another_form_are_400_12(condition: Any) -> None:
    with memory() as tx, pytest.raises(ApiError) as failure:
        found(tx, _any_=condition)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_secrets_cannot_be_searched_for() -> None:
    from stepwise_server.store import entities

    with memory() as tx:
        user = {"name": "someone", "role": "user", "password_hash": "scrypt$abc", "created": MAY}
        entities.insert(tx, entities.USER, user)
        for field in ("password_hash", "username", "preferences", "doc"):
            assert found(tx, entities.USER, _any_={"fields": [field], "pattern": "."}) == []


def test_free_text_is_looked_for_where_people_look() -> None:
    with memory() as tx:
        task(tx, "Alpha", comment="about (x)")
        task(tx, "beta", script={"repository": "https://host/Repo.git", "entry_point": "train.py"})
        assert found(tx, search_text="ABOUT (X)") == ["Alpha"]
        assert found(tx, search_text="repo.GIT") == ["beta"]
        assert found(tx, search_text="alpha|beta") == []


def test_equality_of_runtime_and_ready() -> None:
    with memory() as tx:
        task(tx, "one", runtime={"version": "1.0", "n": 3, "on": True, 'odd "key"': "x"})
        task(tx, "two")
        for name, value in (("version", "1.0"), ("n", 3), ("on", True), ('odd "key"', "x")):
            assert found_with(tx, {f"runtime.{name}": value}) == ["one"]
        assert found_with(tx, {"runtime.version": "2"}) == []
        model(tx, "draft")
        model(tx, "published", ready=True)
        assert found(tx, MODEL, ready=True) == ["published"]
        assert found(tx, MODEL, ready=False) == ["draft"]


def test_hidden_entities_are_left_out_unless_asked_for() -> None:
    with memory() as tx:
        hidden = project(tx, "P1/.datasets", system_tags=["hidden"])
        assert found(tx, PROJECT) == ["P1"]
        assert found(tx, PROJECT, search_hidden=True) == ["P1", "P1/.datasets"]
        assert found(tx, PROJECT, id=[hidden], search_hidden=False) == ["P1/.datasets"]
        assert found(tx, PROJECT, id=[]) == ["P1"]
        secret = task(tx, "hidden one", system_tags=["hidden"])
        task(tx, "in a hidden project", project=hidden)
        assert found(tx) == ["in a hidden project"]
        assert found(tx, id=secret) == ["hidden one"]


def test_projects_with_those_below_and_tasks_without_any() -> None:
    with memory() as tx:
        top, below = project(tx, "Top"), project(tx, "Top/below/deep")
        project(tx, "Top0"), project(tx, "Top below")
        for name, where in (("in top", top), ("deep", below), ("nowhere", None)):
            task(tx, name, project=where)
        assert found(tx, project=[top]) == ["in top"]
        assert found(tx, project=[top], include_subprojects=True) == ["deep", "in top"]
        assert found(tx, project=["__$not", top], include_subprojects=True) == ["nowhere"]
        assert found(tx, project=["unknown"], include_subprojects=True) == []
        assert found(tx, include_subprojects=True) == ["deep", "in top", "nowhere"]
        assert found(tx, project=[None]) == ["nowhere"]
        assert found(tx, PROJECT, parent=[top]) == ["Top/below", "Top/below/deep"]
        assert found(tx, PROJECT, parent=[top], shallow_search=True) == ["Top/below"]
        assert found(tx, PROJECT, shallow_search=True) == ["Top", "Top below", "Top0"]


def test_unknown_parameters_are_ignored() -> None:
    with memory() as tx:
        task(tx, "one")
        assert found_with(tx, {"method": "get", "pipeline_project": "x", "tags.x": 5, "hyper": [1]}) == [
            "one"
        ]


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(KEYS, KEYS)
def test_any_key_can_be_filtered_and_sorted_on(section: str, name: str) -> None:
    from stepwise_server.store.query.paths import escape

    with memory() as tx:
        task(tx, "one", hyperparams={section: {name: {"value": "5"}}})
        task(tx, "two", hyperparams={section: {name: {"value": "10"}}})
        task(tx, "three")
        path = f"hyperparams.{escape(section)}.{escape(name)}.value"
        assert found_with(tx, {path: ["5"]}, TASK) == ["one"]
        assert found_with(tx, {}, TASK, [path]) == ["one", "two", "three"]
        assert found_with(tx, {}, TASK, ["-" + path]) == ["two", "one", "three"]
