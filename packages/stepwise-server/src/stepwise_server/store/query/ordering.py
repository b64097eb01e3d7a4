"""The order of a query's rows."""

from typing import Any

from stepwise_server.errors import invalid
from stepwise_server.store.entities import Entity
from stepwise_server.store.query.clauses import NULL, Clause
from stepwise_server.store.query.fields import resolve
from stepwise_server.store.query.paths import checked

_MOST_FIELDS = 50

_REQUIRED = frozenset({"id", "name", "last_update", "created"})
"""Columns that are never NULL: ordering by them alone can follow an index."""


def order(entity: Entity, order_by: Any) -> Clause:
    """Return what stands behind `ORDER BY`. Rows without the field come last; the id decides between equals.

    Args:
        entity: what is ordered.
        order_by: a field or several, the first most significant; `-` in front for descending. Texts that are
            numbers sort as numbers. What is unknown orders nothing.

    Raises:
        ApiError: 400/12 if it is neither a text nor texts.
    """
    fields = [order_by] if isinstance(order_by, str) else order_by or []
    if not isinstance(fields, list) or not all(isinstance(each, str) for each in fields):
        raise invalid("order_by is a list of names", value=order_by)
    if len(fields) > _MOST_FIELDS:
        raise invalid(f"order_by has at most {_MOST_FIELDS} names", names=len(fields))
    terms: list[str] = []
    values: list[Any] = []
    for name in fields:
        if (term := _term(entity, name)) is not NULL:
            terms.append(term.text)
            values.extend(term.values)
    return Clause(", ".join([*terms, f"{entity.table}.id"]), tuple(values))


def _term(entity: Entity, name: str) -> Clause:
    """Return the term for one field, NULL if it orders nothing."""
    direction = " DESC" if name.startswith("-") else ""
    path = checked(name.removeprefix("-"))
    value = resolve(entity, path).value
    if value is NULL or not path[0]:
        return NULL
    if path[0] in _REQUIRED and len(path) == 1:
        return Clause(value.text + direction, value.values)
    if path[0] in ("hyperparams", "metadata", "runtime", "configuration"):
        return Clause(f"sort_value({value.text}){direction} NULLS LAST", value.values)
    return Clause(f"{value.text}{direction} NULLS LAST", value.values)
