"""No query fails: it finds something, finds nothing, or is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query_tools import found_with, memory, model, project, task

from stepwise_server.errors import ApiError
from stepwise_server.store.entities import ENTITIES, Entity
from stepwise_server.store.query import documents, projection
from stepwise_server.store.query.filters import CLASSES

ODD = [
    "",
    "-",
    "a",
    "$",
    '"',
    "\\",
    "'; DROP TABLE tasks; --",
    "\x00",
    "a.b",
    "%",
    "*",
    "__$not",
    "__$all",
    "2026-01-01",
]
ROOTS = [
    "hyperparams",
    "runtime",
    "metadata",
    "last_metrics",
    "models.input.model",
    "execution.queue",
    "tags",
    "doc",
]
KEYS = st.sampled_from(ODD) | st.text(max_size=5)
PATHS = st.builds(
    lambda root, keys: ".".join([root, *keys]), st.sampled_from(ROOTS), st.lists(KEYS, max_size=4)
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | KEYS
    | PATHS
    | st.sampled_from([">2026", "("])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.fixed_dictionaries(
            {"fields": st.lists(PATHS | KEYS, max_size=3)}, optional={"pattern": KEYS, "datetime": inner}
        )
        | st.fixed_dictionaries(
            {}, optional={"any": inner, "all": inner, "op": inner, "include": inner, "exclude": inner}
        )
    ),
    max_leaves=6,
)
SPECIAL = [
    "_any_",
    "_all_",
    "_or_",
    "_and_",
    "filters",
    "search_text",
    "include_subprojects",
    "shallow_search",
]


def names_of(entity: Entity) -> list[str]:
    classes = CLASSES[entity.name]
    every = [*classes.lists, *classes.patterns, *classes.ranges, *classes.dates, *classes.equal, *SPECIAL]
    return [name + "x.y.value" if name.endswith(".") else name for name in every]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda each: each.name)
def test_no_query_fails(entity: Entity) -> None:
    with memory() as tx:
        place = project(tx, "Some/where", tags=["a"])
        task(
            tx,
            project=place,
            tags=["a", "b"],
            hyperparams={"a": {"b": {"value": "1"}}},
            runtime={"$": [1, {"x": 2}]},
        )
        model(tx, metadata={"a": {"value": "1"}})

        @settings(max_examples=300, deadline=None)
        @given(
            st.dictionaries(st.sampled_from(names_of(entity)) | PATHS, VALUES, max_size=3),
            st.lists(PATHS.map(lambda path: "-" + path) | PATHS | KEYS, max_size=3) | VALUES,
            st.lists(
                PATHS | KEYS | st.sampled_from(["*", "-name", "parent.project.name", "user.*"]), max_size=3
            )
            | VALUES,
        )
        def fuzz(params: dict[str, Any], order_by: Any, only: Any) -> None:
            try:
                found_with(tx, params, entity, order_by)
            except (ApiError, OverflowError, UnicodeError) as error:
                assert not isinstance(error, ApiError) or error.code == 400
            try:
                shown = projection.parse(entity, only)
                ids = tx.column(f"SELECT id FROM {entity.table}")
                json.dumps(documents.fetch(tx, entity, ids, shown, expanded=True))
            except (ApiError, UnicodeError) as error:
                assert not isinstance(error, ApiError) or error.code == 400

        fuzz()


@pytest.mark.parametrize(
    "params",
    [
        {"tags": ["__$all", *map(str, range(5000))]},
        {"tags": [*map(str, range(50_000))]},
        {"id": [*map(str, range(50_000))]},
        {"parent": ["__$all", *map(str, range(5000))]},
        {
            "filters": {
                "tags": {"any": {"exclude": [*map(str, range(5000))]}, "all": {"include": ["x"] * 5000}}
            }
        },
    ],
)
def test_long_lists_are_queries_too(params: dict[str, Any]) -> None:
    with memory() as tx:
        task(tx, tags=["7"])
        found_with(tx, params)


@pytest.mark.parametrize(
    "params",
    [
        {"_any_": {"fields": ["name"] * 5000, "pattern": "x"}},
        {"last_update": [">2026-01-01"] * 5000},
        {f"runtime.{number}": "x" for number in range(5000)},
    ],
)
def test_too_many_conditions_are_refused(params: dict[str, Any]) -> None:
    with memory() as tx:
        with pytest.raises(ApiError) as failure:
            found_with(tx, params)
        assert failure.value.code == 400
        with pytest.raises(ApiError):
            found_with(tx, {}, order_by=["name"] * 5000)
