"""Functions that SQLite lacks: regular expressions, members with any key, and numbers that sort as numbers."""

import json
import math
import sqlite3
from functools import lru_cache
from typing import Any

import msgspec
import regex  # not `re`: it can be told to give up, so that no client's pattern occupies the server

from stepwise_server import limits
from stepwise_server.errors import ApiError


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """Compile a client's regular expression.

    Raises:
        ApiError: 400/21 if it is malformed or longer than `limits.REGEX_CHARACTERS`.
    """
    if len(pattern) > limits.REGEX_CHARACTERS:
        raise ApiError(400, 21, "The regular expression is too long", characters=len(pattern))
    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise ApiError(400, 21, "Malformed regular expression", pattern=pattern, reason=error) from None


def add_functions(connection: sqlite3.Connection) -> None:
    """Add `regexp` (search, case-sensitive), `json_member`, `as_number` and the collation NUMERIC_TEXT."""

    def regexp(pattern: str, text: object) -> bool:
        if text is None:
            return False
        return compiled(pattern).search(str(text), timeout=limits.REGEX_SECONDS) is not None

    connection.create_function("regexp", 2, regexp, deterministic=True)
    connection.create_function("json_member", 2, json_member, deterministic=True)
    connection.create_function("as_number", 1, as_number, deterministic=True)
    connection.create_collation("NUMERIC_TEXT", _compare)


def json_member(document: str, path: str) -> str | int | float | None:
    """Return what a JSON text has at a path, given as a JSON list of keys, in the form of `json_extract`."""
    value: Any = msgspec.json.decode(document)
    for key in json.loads(path):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value if isinstance(value, str | int | float) else None


def as_number(value: object) -> float | None:
    """Return a number, or a text that is one, as a number; None for all else."""
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _compare(left: str, right: str) -> int:
    """Compare as numbers where both are numbers; numbers come before words."""
    a, b = _sort_key(left), _sort_key(right)
    return (a > b) - (a < b)


def _sort_key(text: str) -> tuple[int, float, str]:
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if number == number else (1, 0.0, text)
