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
    """Add `regexp` (search, case-sensitive), `json_member` and `sort_value` to a connection."""

    def regexp(pattern: str, text: object) -> bool:
        if text is None:
            return False
        return compiled(pattern).search(str(text), timeout=limits.REGEX_SECONDS) is not None

    connection.create_function("regexp", 2, regexp, deterministic=True)
    connection.create_function("json_member", 2, json_member, deterministic=True)
    connection.create_function("sort_value", 1, sort_value, deterministic=True)


def json_member(document: str, path: str) -> str | int | float | None:
    """Return what a JSON text has at a path, given as a JSON list of keys, in the form of `json_extract`."""
    value: Any = msgspec.json.decode(document)
    for key in json.loads(path):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value if isinstance(value, str | int | float) else None


def sort_value(value: object) -> str | int | float | None:
    """Return a text that is a number as that number, all else as it is: SQLite sorts numbers before texts."""
    if not isinstance(value, str):
        return value if isinstance(value, int | float) else None
    try:
        number = float(value)
    except ValueError:
        return value
    return value if math.isnan(number) else number
