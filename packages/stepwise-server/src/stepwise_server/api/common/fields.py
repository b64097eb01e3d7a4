"""Values that clients write into entities: checked, and brought into the form that is stored."""

from typing import Any, TypeVar

import msgspec

from stepwise_server import clock, limits
from stepwise_server.errors import ApiError, invalid
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Entity

Part = TypeVar("Part")


def valid_name(name: str, kind: str) -> str:
    """Return a name without surrounding spaces.

    Raises:
        ApiError: 400/800 if it is shorter than `limits.NAME_CHARACTERS`.
    """
    trimmed = name.strip()
    if len(trimmed) < limits.NAME_CHARACTERS:
        raise ApiError(
            400,
            800,
            f"Data validation error (the name of a {kind} has at least 3 characters)",
            name=trimmed,
        )
    return trimmed


def reference(tx: Transaction, entity: Entity, entity_id: str, field: str) -> str | None:
    """Return the id of an entity that exists; None for "".

    Raises:
        ApiError: 400/16 if it does not.
    """
    if not entity_id:
        return None
    if not entities.exists(tx, entity, entity_id):
        raise ApiError(400, 16, f"Bad value for field (unknown {entity.name})", **{field: entity_id})
    return entity_id


def part(value: Any, kind: type[Part], where: str) -> Part:
    """Return a part of a request as the given type: a msgspec structure, a dictionary, a list.

    Raises:
        ApiError: 400/12 that names the member with a wrong type, or one that is missing.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise invalid(f"{where}: {error}") from None


def members(structure: msgspec.Struct) -> dict[str, Any]:
    """Return what a structure has, without the members that are None."""
    values = msgspec.structs.asdict(structure)
    return {name: value for name, value in values.items() if value is not None}


def valid_labels(labels: dict[str, int]) -> dict[str, int]:
    """Return labels whose numbers differ.

    Raises:
        ApiError: 400/12 if two have the same.
    """
    if len(set(labels.values())) < len(labels):
        raise invalid("two labels have the same number")
    return labels


def free(value: dict[str, Any], where: str) -> dict[str, Any]:
    """Return an object whose members are the client's own business, if it is not too deep to be searched.

    Raises:
        ApiError: 400/12 if it is nested deeper than `limits.DOCUMENT_DEPTH`.
    """
    level: list[Any] = [value]
    for _ in range(limits.DOCUMENT_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise invalid(f"{where} is nested too deep", levels=limits.DOCUMENT_DEPTH)


def _inside(value: Any) -> list[Any]:
    """Return the objects and lists directly inside a value."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in values if isinstance(each, dict | list)]


def date(text: str, field: str) -> str:
    """Return a date in the form that is stored.

    Raises:
        ApiError: 400/12 if it is none.
    """
    try:
        return clock.iso(clock.parse(text))
    except (ValueError, OverflowError):
        raise invalid(f"{field} is no date", value=text) from None
