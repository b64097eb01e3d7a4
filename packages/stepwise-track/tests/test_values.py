"""Values come back exactly as they were logged, and what is no number is refused."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwise_track import TrackError
from stepwise_track.values import as_number, as_plain, as_step, decode_json, encode_json

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text() | st.just("$number"), inner)),
    max_leaves=15,
)


def same(one: Any, other: Any) -> bool:
    """Compare with NaN equal to NaN, and 1, 1.0, True and 0.0, -0.0 all different."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


@given(st.dictionaries(st.text(), plain, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_plain_value_survives_as_one_line_of_ascii(value: dict[str, Any]) -> None:
    text = encode_json(value)
    assert text.isascii() and "\n" not in text
    assert same(decode_json(text.encode()), value)
    assert same(as_plain(value), value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_are_no_text_afterwards(value: float) -> None:
    assert same(
        decode_json(encode_json({"a": value, "b": str(value)}).encode()), {"a": value, "b": str(value)}
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (0.1, 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float64(0.1), 0.1),
        (np.int64(2**62 + 1), 2**62 + 1),
        (np.array(2.5), 2.5),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
    ],
)
def test_anything_with_one_number_in_it_is_a_number(value: object, expected: float) -> None:
    found = as_number("loss", value)
    assert found == expected and type(found) is type(expected)


def test_torch_scalars_are_numbers() -> None:
    torch = pytest.importorskip("torch")
    assert as_number("loss", torch.tensor(0.25, dtype=torch.bfloat16, requires_grad=True)) == 0.25
    assert as_number("count", torch.tensor([2**53 + 1])) == 2**53 + 1
    with pytest.raises(TrackError, match="Tensor"):
        as_number("loss", torch.ones(2))


@pytest.mark.parametrize(
    "value", ["0.5", b"1", True, None, [1.0], {"a": 1}, 1j, np.ones(2), object(), 10**400]
)
def test_what_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(TrackError, match="'loss' must be a number, not") as caught:
        as_number("loss", value)
    assert "\n" not in str(caught.value) and "log_text" in str(caught.value.hint)


@pytest.mark.parametrize("step", [-1, 1.5, "3", None, True])
def test_a_step_is_a_whole_number_of_zero_or_more(step: object) -> None:
    with pytest.raises(TrackError, match="'step' must be a whole number"):
        as_step("step", step)
    assert as_step("step", np.int32(7)) == 7


def test_parameters_of_other_types_become_plain() -> None:
    class Color(enum.StrEnum):
        RED = "red"

    @dataclasses.dataclass
    class Settings:
        rate: float
        place: Path

    found = as_plain(
        {
            "settings": Settings(np.float64(0.5), Path("a/b")),
            "shape": (1, 2),
            "color": Color.RED,
            "day": datetime.date(2026, 1, 2),
            "weights": np.array([[1.5, 2.0]]),
            7: {"x"},
        }
    )
    assert same(
        found,
        {
            "settings": {"rate": 0.5, "place": "a/b"},
            "shape": [1, 2],
            "color": "red",
            "day": "2026-01-02",
            "weights": [[1.5, 2.0]],
            "7": ["x"],
        },
    )
