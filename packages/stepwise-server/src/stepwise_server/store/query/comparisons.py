"""Ranges, dates and equality."""

import math
import re
from typing import Any

from stepwise_server import clock
from stepwise_server.errors import invalid
from stepwise_server.store.query.clauses import Clause, among, both
from stepwise_server.store.query.fields import Field

_OPERATOR = re.compile(r"^\s*(>=|<=|>|<)?\s*(.*)$", re.DOTALL)


def between(over: Field, limits: Any, name: str, *, dates: bool) -> Clause:
    """Return the condition that a field lies in a range, both ends included.

    Args:
        over: the field.
        limits: `[low, high]`; None is open, and `[None, high]` fits a missing field too.
        name: of the parameter, for messages.
        dates: whether the field holds dates; then strings with operators are understood too.

    Raises:
        ApiError: 400/12 if it is no range.
    """
    if dates and _has_operator(limits):
        return compared(over, limits)
    if not isinstance(limits, list) or len(limits) != 2 or limits == [None, None]:
        raise invalid(f"{name} is a range [min, max]", value=limits)
    low, high = (_end(limit, name, dates=dates) for limit in limits)
    value = over.value
    if low is None:
        return Clause(f"{value.text} IS NULL OR {value.text} <= ?", (*value.values, *value.values, high))
    parts = [Clause(f"{value.text} >= ?", (*value.values, low))]
    if high is not None:
        parts.append(Clause(f"{value.text} <= ?", (*value.values, high)))
    return both(parts)


def _has_operator(given: Any) -> bool:
    """Tell whether dates come with operators, or as one string."""
    if isinstance(given, str):
        return True
    return isinstance(given, list) and any(isinstance(each, str) and each[:1] in ("<", ">") for each in given)


def _end(limit: Any, name: str, *, dates: bool) -> Any:
    if limit is None:
        return None
    if dates:
        moment = date(limit)
        if moment is None:
            raise invalid(f"{name} is a range of dates", value=limit)
        return moment
    if isinstance(limit, bool) or not isinstance(limit, int | float) or math.isnan(limit):
        raise invalid(f"{name} is a range of numbers", value=limit)
    return limit


def date(text: Any) -> str | None:
    """Return a date as it is stored, or None if it cannot be read."""
    try:
        return clock.iso(clock.parse(text)) if isinstance(text, str) else None
    except (
        ValueError,
        OverflowError,
        TypeError,
        ArithmeticError,
        LookupError,
    ):  # dateutil raises all of these
        return None


def compared(over: Field, given: Any) -> Clause:
    """Return the condition that a date compares as asked.

    Args:
        over: the field.
        given: dates with `>`, `>=`, `<`, `<=` in front, or none for equality; exactly two without one are a
            range. What cannot be read is left out.
    """
    elements = given if isinstance(given, list) else [given]
    if len(elements) == 2 and not any(
        isinstance(each, str) and each.strip()[:1] in ("<", ">") for each in elements
    ):
        low, high = (date(each) for each in elements)
        if (low or elements[0] is None) and (high or elements[1] is None) and (low or high):
            return between(over, [low, high], "date", dates=True)
    parts, exact = [], []
    for each in elements:
        match = _OPERATOR.match(each) if isinstance(each, str) else None
        moment = date(match[2].strip()) if match else None
        if moment is None or match is None:
            continue
        if match[1]:
            parts.append(Clause(f"{over.value.text} {match[1]} ?", (*over.value.values, moment)))
        else:
            exact.append(moment)
    if exact:
        right = among(exact)
        parts.append(Clause(f"{over.value.text} {right.text}", over.value.values + right.values))
    return both(parts)


def equals(over: Field, value: Any, name: str) -> Clause:
    """Return the condition that a field has a value.

    Raises:
        ApiError: 400/12 if the value is no string, number or boolean.
    """
    if not isinstance(value, str | int | float):
        raise invalid(f"{name} is compared with one value", value=value)
    return Clause(f"{over.value.text} = ?", (*over.value.values, value))
