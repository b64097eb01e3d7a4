"""From the parameters of a query to one condition: which parameter means what, entity by entity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stepwise_server.errors import invalid
from stepwise_server.store import projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, PROJECT, QUEUE, TASK, USER, Entity
from stepwise_server.store.query import comparisons, operators, patterns
from stepwise_server.store.query.clauses import TRUE, Clause, both
from stepwise_server.store.query.fields import resolve
from stepwise_server.store.query.operators import Choice
from stepwise_server.store.query.paths import checked

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Classes:
    """Which parameters an entity is filtered by, and how; a name that ends with a dot covers all below it."""

    lists: tuple[str, ...]
    patterns: tuple[str, ...]
    ranges: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()


CLASSES = {
    TASK.name: Classes(
        lists=(
            *("id", "user", "tags", "system_tags", "type", "status", "project", "parent", "hyperparams."),
            *("execution.queue", "models.input.model"),
        ),
        patterns=("name", "comment", "report"),
        ranges=("created", "started", "active_duration", "last_metrics.", "last_iteration"),
        dates=("status_changed", "last_update", "last_change"),
        equal=("runtime.",),
    ),
    MODEL.name: Classes(
        lists=(
            *("id", "user", "tags", "system_tags", "framework", "uri", "project", "task", "parent"),
            "metadata.",
        ),
        patterns=("name", "comment"),
        ranges=("created", "last_metrics.", "last_iteration"),
        dates=("last_update", "last_change"),
        equal=("ready",),
    ),
    PROJECT.name: Classes(
        lists=("id", "parent", "tags", "system_tags", "path"),
        patterns=("name", "basename", "description"),
        ranges=("last_update",),
    ),
    QUEUE.name: Classes(lists=("id", "tags", "system_tags", "metadata."), patterns=("name",)),
    USER.name: Classes(lists=("id",), patterns=("name",)),
}

_RANGES_OF_DATES = frozenset({"created", "started", "last_update"})

_HIDDEN = {TASK.name: "hidden", PROJECT.name: "hidden", QUEUE.name: "k8s-glue"}
"""The system tag that keeps an entity out of lists."""


def where(tx: Transaction, entity: Entity, params: Parameters) -> Clause:
    """Return the condition that the parameters of a query ask for; null and empty parameters ask for nothing.

    Raises:
        ApiError: 400/12, 400/16 or 400/21 if one of them is malformed.
    """
    explicit = params.get("filters") or {}
    if not isinstance(explicit, dict):
        raise invalid("filters is an object", value=explicit)
    parts = [_hidden(entity, params)]
    for name, value in params.items():
        if value is None or value in ("", []) or name in explicit:
            continue
        if compile_one := _compiler(entity, name):
            parts.append(compile_one(tx, entity, name, value, params))
        elif name in ("_any_", "_all_", "_or_", "_and_"):
            parts.append(patterns.over_fields(entity, value, name))
        elif name == "search_text":
            parts.append(patterns.search_text(entity, value))
    for name, condition in explicit.items():
        if _compiler(entity, name) is not _by_list:
            raise invalid("filters knows no such field", field=name)
        parts.append(operators.explicit(condition, resolve(entity, checked(name)), name))
    if (
        entity is PROJECT
        and params.get("shallow_search")
        and not params.get("parent")
        and not params.get("id")
    ):
        parts.append(Clause("projects.parent IS NULL"))
    return both(parts)


Compiler = Callable[[Transaction, Entity, str, Any, Parameters], Clause]


def _compiler(entity: Entity, name: str) -> Compiler | None:
    """Return what turns a parameter of this name into a condition, None if it is no filter."""
    classes = CLASSES[entity.name]
    root = name.partition(".")[0] + "." if "." in name else name
    for names, compile_one in (
        (classes.lists, _by_list),
        (classes.patterns, _by_pattern),
        (classes.ranges, _by_range),
        (classes.dates, _by_date),
        (classes.equal, _by_value),
    ):
        if name in names or (root != name and root in names):
            return compile_one
    return None


def _by_list(tx: Transaction, entity: Entity, name: str, value: Any, params: Parameters) -> Clause:
    choice = operators.parse(value, name)
    path = checked(name)
    if name == "project" and params.get("include_subprojects"):
        choice = Choice(
            [*choice.anyone, *projects.subtree(tx, choice.anyone)],
            choice.everyone,
            [*choice.none, *projects.subtree(tx, choice.none)],
            choice.empty,
            choice.alternatives,
        )
    if entity is PROJECT and name == "parent" and not params.get("shallow_search"):
        path = ("path",)
    return choice.clause(resolve(entity, path))


def _by_pattern(_tx: Transaction, entity: Entity, name: str, value: Any, _params: Parameters) -> Clause:
    return patterns.found(resolve(entity, (name,)), value, name)


def _by_range(_tx: Transaction, entity: Entity, name: str, value: Any, _params: Parameters) -> Clause:
    return comparisons.between(resolve(entity, checked(name)), value, name, dates=name in _RANGES_OF_DATES)


def _by_date(_tx: Transaction, entity: Entity, name: str, value: Any, _params: Parameters) -> Clause:
    return comparisons.compared(resolve(entity, (name,)), value)


def _by_value(_tx: Transaction, entity: Entity, name: str, value: Any, _params: Parameters) -> Clause:
    return comparisons.equals(resolve(entity, checked(name)), value, name)


def _hidden(entity: Entity, params: Parameters) -> Clause:
    """Return the condition that leaves out hidden entities, unless they are asked for."""
    tag = _HIDDEN.get(entity.name)
    if tag is None or params.get("search_hidden") or params.get("id"):
        return TRUE
    if entity is QUEUE and params.get("name"):
        return TRUE
    return operators.has_none(resolve(entity, ("system_tags",)), [tag])
