"""Pieces of SQL with the values of their question marks. Clients' input only ever becomes a value."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stepwise_server.errors import invalid

MOST_PARTS = 500
"""Conditions that are joined at most: SQLite's expressions have a limited depth."""


@dataclass(frozen=True, slots=True)
class Clause:
    """An expression or a condition.

    Attributes:
        text: SQL, with `?` in place of the values.
        values: for the question marks, in order.
    """

    text: str
    values: tuple[Any, ...] = ()


TRUE = Clause("1")
FALSE = Clause("0")
NULL = Clause("NULL")


def both(parts: Iterable[Clause]) -> Clause:
    """Return the condition that all parts hold; TRUE if there are none. Raises ApiError 400/12 if they are too many."""
    return _joined(" AND ", [part for part in parts if part is not TRUE], TRUE)


def either(parts: Iterable[Clause]) -> Clause:
    """Return the condition that one of the parts holds; FALSE if there are none. Raises as `both`."""
    return _joined(" OR ", [part for part in parts if part is not FALSE], FALSE)


def _joined(word: str, parts: Sequence[Clause], empty: Clause) -> Clause:
    if not parts:
        return empty
    if len(parts) == 1:
        return parts[0]
    if len(parts) > MOST_PARTS:
        raise invalid("the query has too many conditions", conditions=len(parts), most=MOST_PARTS)
    return Clause(
        word.join(f"({part.text})" for part in parts), tuple(value for part in parts for value in part.values)
    )


def among(values: Iterable[Any]) -> Clause:
    """Return `IN …` for any number of values: they travel as one JSON text."""
    return Clause("IN (SELECT value FROM json_each(?))", (json.dumps(list(values)),))
