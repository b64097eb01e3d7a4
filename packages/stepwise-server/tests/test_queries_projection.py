"""Paths with escapes, and `only_fields`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwise_server.errors import ApiError
from stepwise_server.store.entities import TASK
from stepwise_server.store.query.paths import checked, escape, split
from stepwise_server.store.query.projection import apply, parse


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("hyperparams.General.a%2Eb.value", ("hyperparams", "General", "a.b", "value")),
        ("hyperparams.my%_%_sec.lr.value", ("hyperparams", "my__sec", "lr", "value")),
        ("metadata.100%%.value", ("metadata", "100%", "value")),
        ("hyperparams.%_private.%24x", ("hyperparams", "_private", "$x")),
        ("execution.parameters.lr", ("hyperparams", "Args", "lr")),
        ("execution.parameters", ("execution", "parameters")),
        ("execution.model_desc.cfg", ("configuration", "cfg")),
        ("execution.model_desc", ("configuration",)),
        ("execution.docker_cmd", ("container",)),
        ("execution.queue.name", ("execution", "queue", "name")),
    ],
)
def test_paths_of_the_web_app(path: str, keys: tuple[str, ...]) -> None:
    assert split(path) == keys


@given(st.lists(st.text(st.sampled_from("%_.$2E4ab "), min_size=1, max_size=8), min_size=1, max_size=4))
def test_escaped_keys_come_back(keys: list[str]) -> None:
    assert split("runtime." + ".".join(escape(key) for key in keys)) == ("runtime", *keys)


def test_paths_that_are_too_long_are_400_12() -> None:
    for path in ("hyperparams.a.b.value.x", "metadata.a.value.x"):
        with pytest.raises(ApiError) as failure:
            checked(path)
        assert (failure.value.code, failure.value.subcode) == (400, 12)


DOCUMENT: dict[str, Any] = {
    "id": "i",
    "name": "n",
    "tags": [],
    "runtime": {},
    "models": {"input": [], "output": [{"name": "w", "model": "m1"}, {"name": "v", "model": "m2"}]},
    "hyperparams": {"General": {"a.b": {"value": "1", "type": "int"}}},
    "project": "p",
}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["name"], {"name": "n"}),
        (["runtime.version"], {"runtime": {}}),
        (["tags"], {"tags": []}),
        (["models.output.model"], {"models": {"output": [{"model": "m1"}, {"model": "m2"}]}}),
        (["models.input.name"], {"models": {"input": []}}),
        (["hyperparams.General.a%2Eb.value"], {"hyperparams": {"General": {"a.b": {"value": "1"}}}}),
        (["hyperparams.Args.x.value"], {"hyperparams": {}}),
        (["name.deeper"], {}),
        (["project.name"], {"project": "p"}),
        (["parent"], {}),
        (["models.*", "-models.input"], {"models": {"output": DOCUMENT["models"]["output"]}}),
        (["*", "-models", "-hyperparams"], {"name": "n", "tags": [], "runtime": {}, "project": "p"}),
        (
            ["-models", "-hyperparams.General.a%2Eb"],
            {"name": "n", "tags": [], "runtime": {}, "project": "p", "hyperparams": {"General": {}}},
        ),
    ],
)
def test_only_the_wanted_fields_are_shown(only: list[str], expected: dict[str, Any]) -> None:
    assert apply(DOCUMENT, parse(TASK, only), {("project",)}) == {"id": "i", **expected}


def test_an_unknown_field_is_400_14() -> None:
    for only in (["nonsense"], ["-nonsense.x"]):
        with pytest.raises(ApiError) as failure:
            parse(TASK, only)
        assert (failure.value.code, failure.value.subcode) == (400, 14)


VALUES = st.recursive(
    st.integers(0, 9) | st.text(max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | st.lists(st.dictionaries(st.sampled_from("abc"), inner, max_size=2), max_size=2)
    ),
    max_leaves=8,
)


def reach(value: Any, path: list[str]) -> list[Any]:
    """Return everything that lies at a path, through lists of objects."""
    if isinstance(value, list):
        return [each for item in value for each in reach(item, path)]
    if not path:
        return [value]
    return reach(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


@given(VALUES, st.lists(st.lists(st.sampled_from("abc"), max_size=3), min_size=1, max_size=3))
def test_a_projection_shows_all_of_what_was_asked_for_and_nothing_beside(
    value: Any, paths: list[list[str]]
) -> None:
    document = {"id": "i", "name": "n", "runtime": value}
    before = repr(document)
    shown = apply(document, parse(TASK, [".".join(["runtime", *path]) for path in paths]))
    assert repr(document) == before
    assert "name" not in shown
    for path in paths:
        assert reach(shown.get("runtime"), path) == reach(value, path)
    for key in "abc":
        if not any(path[:1] in ([], [key]) for path in paths):
            assert reach(shown.get("runtime"), [key]) == []


def test_taking_a_part_out_leaves_the_document_as_it_was() -> None:
    apply(DOCUMENT, parse(TASK, ["*", "-hyperparams.General.a%2Eb.value", "-models.output"]))
    assert DOCUMENT["hyperparams"]["General"]["a.b"]["value"] == "1"
    assert DOCUMENT["models"]["output"]
