"""Lists of values and operators, and the `filters` parameter, against a plain model in Python."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_tools import found, found_with, memory, task

from stepwise_server.errors import ApiError

TAGS = [
    [],
    ["a"],
    ["b"],
    ["c"],
    ["a", "b"],
    ["a", "b", "c"],
    ["-a"],
    ['"a'],
    [',"a"'],
    ["a,", "b"],
    ["ä b/c"],
]


def fits(elements: list[Any], tags: set[str]) -> bool:
    """The grammar, read aloud. Raises ValueError for what is no sentence of it."""
    groups: dict[str, list[str]] = {"any": [], "all": [], "none": []}
    context, legacy, negate, empty_fits = "any", True, False, False
    for element in elements:
        if element is None:
            empty_fits, negate = True, False
        elif element in ("__$not", "__$all", "__$and", "__$any", "__$or", "__$nop"):
            if negate:
                raise ValueError("an operator after __$not")
            legacy = element == "__$nop"
            negate = element == "__$not"
            if element in ("__$all", "__$and"):
                context = "all"
            elif element in ("__$any", "__$or", "__$nop"):
                context = "any"
        elif element.startswith("__$"):
            raise ValueError("unknown operator")
        elif negate:
            groups["none"].append(element)
            negate = False
        elif legacy and element.startswith("-") and element != "-":
            groups["none"].append(element[1:])
        else:
            groups[context].append(element)
    if negate:
        raise ValueError("__$not at the end")
    results = []
    if groups["any"]:
        results.append(any(value in tags for value in groups["any"]))
    if groups["all"]:
        results.append(all(value in tags for value in groups["all"]))
    if groups["none"]:
        results.append(not any(value in tags for value in groups["none"]))
    if not results:
        return not tags if empty_fits else True
    joined = any(results) if elements[0] in ("__$any", "__$or") else all(results)
    return joined or (empty_fits and not tags)


ELEMENTS = st.lists(
    st.sampled_from(
        [
            *("a", "b", "c", "-a", "-b", "-", '"a', ',"a"', "ä b/c", None),
            *("__$not", "__$all", "__$and", "__$any", "__$or", "__$nop", "__$x"),
        ]
    ),
    min_size=1,
    max_size=7,
)


@given(ELEMENTS)
def test_lists_of_tags_follow_the_grammar(elements: list[Any]) -> None:
    with memory() as tx:
        for tags in TAGS:
            task(tx, json.dumps(tags), tags=tags)
        try:
            expected = sorted(json.dumps(tags) for tags in TAGS if fits(elements, set(tags)))
        except ValueError:
            with pytest.raises(ApiError) as failure:
                found(tx, tags=elements)
            assert failure.value.subcode == 16
        else:
            assert sorted(found(tx, tags=elements)) == expected


@given(ELEMENTS)
def test_single_values_follow_the_same_grammar(elements: list[Any]) -> None:
    parents = [None, "a", "b", "c", "-a", "-"]
    with memory() as tx:
        for parent in parents:
            task(tx, str(parent), parent=parent)
        try:
            expected = sorted(str(each) for each in parents if fits(elements, {each} - {None}))
        except ValueError:
            with pytest.raises(ApiError):
                found(tx, parent=elements)
        else:
            assert sorted(found(tx, parent=elements)) == expected


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (["dataset"], ["archived dataset", "dataset"]),
        (["-archived"], ["dataset", "none", "pipeline"]),
        (["dataset", "pipeline"], ["archived dataset", "dataset", "pipeline"]),
        (["__$all", "dataset", "archived"], ["archived dataset"]),
        (["__$all", "dataset", "__$not", "archived"], ["dataset"]),
        (["__$not", "archived", "__$not", "pipeline", "__$not", "dataset", "__$not", "Annotation"], ["none"]),
        (["dataset", "-archived"], ["dataset"]),
        (["__$any", "dataset", "__$not", "archived"], ["archived dataset", "dataset", "none", "pipeline"]),
        ([None], ["none"]),
        ([None, "pipeline"], ["none", "pipeline"]),
        ("pipeline", ["pipeline"]),
        ([], ["archived dataset", "dataset", "none", "pipeline"]),
        (None, ["archived dataset", "dataset", "none", "pipeline"]),
    ],
)
def test_the_examples_of_clients(elements: Any, expected: list[str]) -> None:
    with memory() as tx:
        task(tx, "none")
        for tags in (["dataset"], ["pipeline"], ["archived", "dataset"]):
            task(tx, " ".join(tags), system_tags=tags)
        assert found(tx, system_tags=elements) == expected


@pytest.mark.parametrize("elements", [["__$never"], ["__$not"], ["__$not", "__$all", "a"], [5], [["a"]]])
def test_what_is_no_sentence_of_it_is_400_16(elements: Any) -> None:
    with memory() as tx, pytest.raises(ApiError) as failure:
        found(tx, tags=elements)
    assert (failure.value.code, failure.value.subcode) == (400, 16)


PART = st.fixed_dictionaries(
    {},
    optional={
        "include": st.lists(st.sampled_from(["a", "b", "c", None]), max_size=3),
        "exclude": st.lists(st.sampled_from(["a", "b", "c", None]), max_size=3),
    },
)


def passes(condition: dict[str, Any], tags: set[str]) -> bool:
    """What `filters` means, read aloud."""
    results = []
    if (part := condition.get("any")) is not None:
        include, exclude = part.get("include", []), part.get("exclude", [])
        options = [value in tags if value else not tags for value in include]
        options += [value not in tags if value else bool(tags) for value in exclude]
        if options:
            results.append(any(options))
    if (part := condition.get("all")) is not None:
        include, exclude = part.get("include", []), part.get("exclude", [])
        values = [value for value in include if value]
        has = all(value in tags for value in values)
        if None in include:
            has = (bool(values) and has) or not tags
        if include or exclude:
            results.append(has and all(value not in tags if value else bool(tags) for value in exclude))
    if condition.get("op") == "or" and results:
        return any(results)
    return all(results)


@given(st.fixed_dictionaries({}, optional={"any": PART, "all": PART, "op": st.sampled_from(["and", "or"])}))
def test_filters_include_and_exclude(condition: dict[str, Any]) -> None:
    with memory() as tx:
        for tags in TAGS:
            task(tx, json.dumps(tags), tags=tags)
        expected = sorted(json.dumps(tags) for tags in TAGS if passes(condition, set(tags)))
        assert sorted(found(tx, filters={"tags": condition})) == expected


def test_filters_take_the_place_of_the_plain_parameter() -> None:
    with memory() as tx:
        task(tx, "one", tags=["a"])
        task(tx, "two", tags=["b"])
        assert found(tx, tags=["a"], filters={"tags": {"any": {"include": ["b"]}}}) == ["two"]


@pytest.mark.parametrize(
    "filters",
    [
        {"tags": 5},
        {"tags": {"some": {}}},
        {"tags": {"any": {"includes": []}}},
        {"tags": {"any": {"include": [5]}}},
        {"tags": {"op": "xor"}},
        {"name": {"any": {"include": ["a"]}}},
        ["tags"],
    ],
)
def test_filters_of_another_form_are_400_12(filters: Any) -> None:
    with memory() as tx, pytest.raises(ApiError) as failure:
        found(tx, filters=filters)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_hyperparameters_queues_and_models_are_lists_too() -> None:
    with memory() as tx:
        item = {"section": "a.b", "name": "$x", "value": "5"}
        task(tx, "one", hyperparams={"a.b": {"$x": item}}, execution={"queue": "q"})
        task(tx, "two", models={"input": [{"name": "m", "model": "m1"}], "output": []})
        assert found_with(tx, {"hyperparams.a%2Eb.%24x.value": ["5"]}) == ["one"]
        assert found_with(tx, {"hyperparams.a%2Eb.%24x.value": ["__$not", "5"]}) == ["two"]
        assert found_with(tx, {"hyperparams.a%2Eb.%24x.value": [None]}) == ["two"]
        assert found_with(tx, {"execution.queue": ["q"]}) == ["one"]
        assert found_with(tx, {"models.input.model": ["m1", "m2"]}) == ["two"]
        assert found_with(tx, {"models.input.model": ["-m1"]}) == ["one"]
