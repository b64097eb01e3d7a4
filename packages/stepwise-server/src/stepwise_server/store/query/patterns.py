r"""Regular expressions and free text over one or several fields.

Most patterns that clients send are plain text with escapes (`^My\ project$`): those become comparisons that
SQLite does itself, a hundred times faster than a call of ours for every row.
"""

import re
from collections.abc import Iterable
from typing import Any

from stepwise_server.errors import invalid
from stepwise_server.store.entities import MODEL, PROJECT, TASK, Entity
from stepwise_server.store.functions import compiled
from stepwise_server.store.query import comparisons
from stepwise_server.store.query.clauses import NULL, TRUE, Clause, both, either
from stepwise_server.store.query.fields import Field, resolve
from stepwise_server.store.query.paths import checked

_PLAIN = re.compile(r"(?:[^\\^$.|?*+()\[\]{}\x00]|\\[^A-Za-z0-9\x00])*", re.DOTALL)

_SEARCHED = {
    TASK.name: (
        "name",
        "id",
        "comment",
        "report",
        "models.input.model",
        "models.output.model",
        "script.repository",
        "script.entry_point",
    ),
    MODEL.name: ("name", "id", "comment", "uri", "framework"),
    PROJECT.name: ("name", "id", "description"),
}
"""Where `search_text` looks, by entity."""


def literal(pattern: str) -> str | None:
    """Return the text that a pattern stands for, if it is plain text; None otherwise."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL) if _PLAIN.fullmatch(pattern) else None


def found(over: Field, pattern: Any, name: str, *, ignore_case: bool = False) -> Clause:
    """Return the condition that a pattern is found in a field, or in any element of a list.

    Args:
        over: the field.
        pattern: a regular expression, searched for anywhere.
        name: of the parameter, for messages.
        ignore_case: whether case does not matter.

    Raises:
        ApiError: 400/21 if it is malformed, 400/12 if it is no string.
    """
    if not isinstance(pattern, str):
        raise invalid(f"{name} is a regular expression", value=pattern)
    compiled(pattern)
    if over.elements is None:
        return _matches(over.value, pattern, ignore_case=ignore_case)
    inner = _matches(Clause("value"), pattern, ignore_case=ignore_case)
    return Clause(
        f"EXISTS (SELECT 1 FROM ({over.elements.text}) WHERE {inner.text})",
        over.elements.values + inner.values,
    )


def _matches(value: Clause, pattern: str, *, ignore_case: bool) -> Clause:
    """Return the condition that a pattern is found in a value."""
    if value is NULL:
        return Clause("0")
    text = literal(pattern)
    if text is not None and not ignore_case:
        return Clause(f"instr({value.text}, ?) > 0", (*value.values, text))
    if text is not None and text.isascii():
        like = re.sub(r"([%_\\])", r"\\\1", text)
        return Clause(f"{value.text} LIKE ? ESCAPE '\\'", (*value.values, f"%{like}%"))
    anchored = literal(pattern[1:-1]) if pattern[:1] == "^" and pattern[-1:] == "$" else None
    if anchored is not None and not ignore_case:
        # `$` also matches before a line feed at the end.
        return Clause(f"{value.text} IN (?, ?)", (*value.values, anchored, anchored + "\n"))
    expression = "(?i)" + pattern if ignore_case else pattern
    compiled(expression)
    return Clause(f"regexp(?, {value.text})", (expression, *value.values))


def over_fields(entity: Entity, condition: Any, name: str) -> Clause:
    """Return the condition of `_any_` or `_all_`: a pattern or a date comparison over several fields.

    Args:
        entity: whose fields.
        condition: `{fields: […], pattern: "…"}` or `{fields: […], datetime: [">…"]}`.
        name: of the parameter; `_all_` and `_and_` ask for all fields, others for any.

    Raises:
        ApiError: 400/12 if it has another form, 400/21 for a malformed pattern.
    """
    if not isinstance(condition, dict):
        raise invalid(f"{name} is an object with fields and a pattern", value=condition)
    names = condition.get("fields")
    names = [names] if isinstance(names, str) else names or []
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise invalid(f"{name}.fields is a list of names", value=names)
    pattern, moments = condition.get("pattern"), condition.get("datetime")
    if not names:
        return TRUE
    if (pattern is None) == (moments is None):
        raise invalid(f"{name} has either a pattern or a datetime")
    join = both if name in ("_all_", "_and_") else either
    fields = [resolve(entity, checked(each)) for each in names]
    if moments is not None:
        return join(comparisons.compared(field, moments) for field in fields)
    return join(found(field, pattern, f"{name}.pattern", ignore_case=True) for field in fields)


def search_text(entity: Entity, text: Any) -> Clause:
    """Return the condition that a text is found where people look for it, in any case.

    Raises:
        ApiError: 400/12 if it is no string.
    """
    if not isinstance(text, str):
        raise invalid("search_text is a text", value=text)
    fields: Iterable[str] = _SEARCHED.get(entity.name, ("name", "id"))
    pattern = re.escape(text)
    return either(
        found(resolve(entity, checked(each)), pattern, "search_text", ignore_case=True) for each in fields
    )
