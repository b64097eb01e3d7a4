"""Turn what users log into plain JSON values, without changing any of them.

JSON has no NaN and no infinities. They are written as `{"$number": "nan"}` (or `inf`, `-inf`); a mapping of
the user whose key begins with `$` gets one more `$`, so that nothing can be taken for such a number.
"""

import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from stepwise_track.errors import TrackError

Number = int | float


class NotANumberError(TrackError):
    """A value that should be one number is something else."""


def as_number(name: str, value: object) -> Number:
    """Convert one logged value to a Python number.

    Args:
        name: what the value is called, for the error.
        value: an int, a float, or anything with one number in it (NumPy or torch scalar, Decimal, Fraction).

    Returns:
        An int for whole-number types, else a float; NaN and infinities stay what they are.

    Raises:
        NotANumberError: for text, booleans, None, arrays with more than one element, and integers that no float
            can hold: nothing could draw them.
    """
    if type(value) is float:
        return value
    if hasattr(value, "detach"):  # torch warns when a tensor that carries a gradient becomes a number
        value = value.detach()
    try:
        if isinstance(value, (str, bytes, bytearray, bool)):
            raise TypeError  # float() would take them
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise NotANumberError(
            f"{name!r} must be a number, not {type(value).__name__} {_short(value)}",
            hint="log_text takes words, log_table rows, log_histogram arrays",
        ) from None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return number


def as_step(name: str, value: object) -> int:
    """Convert a step or an epoch to an int.

    Raises:
        TrackError: if it is not a whole number of 0 or more.
    """
    try:
        step = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        step = -1
    if step < 0 or isinstance(value, bool):
        raise TrackError(f"{name!r} must be a whole number of 0 or more, not {_short(value)}")
    return step


def as_plain(value: object) -> Any:
    """Convert a parameter or a table cell to plain JSON types.

    Mappings become dicts with text keys, sequences and sets become lists, scalars of NumPy and torch become
    numbers. Anything else (a path, a date, a dtype) is kept as its `str`.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        # `+ 0` and `str()` strip subclasses such as numpy.float64 and string enums down to the plain type.
        return value if value is None or isinstance(value, bool) else _base(value)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if hasattr(value, "model_dump"):  # pydantic
        return as_plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays alike
        return as_plain(value.tolist())
    if (
        isinstance(value, Iterable)
        and not isinstance(value, (bytes, bytearray))
        and hasattr(value, "__len__")
    ):
        return [as_plain(item) for item in value]
    return str(value)


def _base(value: int | float | str) -> int | float | str:
    """Return the plain int, float or str below a subclass."""
    if type(value) in (int, float, str):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return float.__float__(value) if isinstance(value, float) else int.__int__(value)


def _short(value: object) -> str:
    """Return a value's repr, cut to a length that fits an error line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def encode_json(value: dict[str, Any]) -> str:
    """Write plain values as one line of ASCII JSON that `decode_json` turns back into the same values."""
    try:
        text = _encode(value)
    except (ValueError, TypeError):  # not finite, or a dataclass: the careful way costs three times as much
        return _encode(_escape(value))
    return _encode(_escape(value)) if '"$' in text else text


def decode_json(text: bytes) -> Any:
    """Read what `encode_json` wrote."""
    return json.loads(text, object_hook=_unescape) if b'"$' in text else json.loads(text)


def _escape(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$number": repr(value)}
    if isinstance(value, dict):
        return {f"${key}" if key.startswith("$") else key: _escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escape(item) for item in value]
    if is_dataclass(value):
        return {field.name: _escape(getattr(value, field.name)) for field in fields(value)}
    return value


def _unescape(value: dict[str, Any]) -> Any:
    if value.keys() == {"$number"}:
        return float(value["$number"])
    return {key[1:] if key.startswith("$") else key: item for key, item in value.items()}
