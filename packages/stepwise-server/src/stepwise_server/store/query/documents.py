"""The documents of an answer: decoded, with what is kept elsewhere, cut to the projection, references expanded."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from stepwise_server.store import entities, metrics
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import COMPANY, MODEL, PROJECT, QUEUE, TASK, USER, Document, Entity
from stepwise_server.store.query.fields import known
from stepwise_server.store.query.paths import Path
from stepwise_server.store.query.projection import EVERYTHING, Node, Projection, apply

COMPANY_NAME = "clearml"

DELETED = "__DELETED__"
"""Stands before the id of a parent that was deleted."""

REFERENCES: Mapping[str, Mapping[Path, Entity]] = MappingProxyType(
    {
        TASK.name: {
            ("user",): USER,
            ("project",): PROJECT,
            ("parent",): TASK,
            ("execution", "queue"): QUEUE,
            ("models", "input", "model"): MODEL,
            ("models", "output", "model"): MODEL,
        },
        MODEL.name: {("user",): USER, ("project",): PROJECT, ("parent",): MODEL, ("task",): TASK},
        PROJECT.name: {("user",): USER, ("parent",): PROJECT},
        QUEUE.name: {("user",): USER, ("entries", "task"): TASK},
        USER.name: {},
    }
)
"""Where entities hold ids of other entities."""


def fetch(
    tx: Transaction,
    entity: Entity,
    ids: Sequence[str],
    projection: Projection = EVERYTHING,
    *,
    expanded: bool = False,
) -> list[Document]:
    """Return the entities that exist among these ids, in the order of the ids, as answers show them.

    Args:
        tx: a transaction.
        entity: their kind.
        ids: their ids.
        projection: which parts.
        expanded: whether references become objects, as the `_ex` calls have them.
    """
    documents = _load(tx, entity, ids, projection)
    _add_computed(tx, entity, documents, projection)
    references = REFERENCES[entity.name]
    shown = [apply(document, projection, {*references, ("company",)}) for document in documents]
    if expanded:
        for path, other in references.items():
            if projection.wants(path[0]):
                _expand(tx, shown, path, other, projection.node.at(path))
        for document in shown:
            if "company" in document:
                document["company"] = {"id": COMPANY, "name": COMPANY_NAME}
    return shown


def one(tx: Transaction, entity: Entity, entity_id: Any) -> Document:
    """Return one entity, whole, with references as ids.

    Raises:
        ApiError: 400 with the entity's subcode if there is none.
    """
    found = fetch(tx, entity, [entity_id]) if isinstance(entity_id, str) else []
    if not found:
        raise entity.unknown(entity_id)
    return found[0]


def _load(tx: Transaction, entity: Entity, ids: Sequence[str], projection: Projection) -> list[Document]:
    """Return what the table has of the wanted fields; private ones are not even read."""
    columns = [name for name in entity.columns if projection.wants(name) and name not in entity.private]
    wanted = frozenset(projection.node.children.keys() & known(entity))
    decode = msgspec.json.decode if projection.node.whole else _decoder(wanted)
    only_columns = not projection.node.whole and wanted <= {"id", *entity.columns}
    names = ", ".join(("id", "'{}'" if only_columns else "doc", *columns))
    rows = tx.execute(
        f"SELECT {names} FROM {entity.table} WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    )
    found = {row[0]: entities.from_row(entity, row, columns, decode) for row in rows}
    return [found[each] for each in ids if each in found]


@lru_cache(maxsize=256)
def _decoder(fields: frozenset[str]) -> Callable[[str], Document]:
    """Return a decoder of documents that makes no objects of other fields: those may be a thousand times larger."""
    part = msgspec.defstruct("Part", [(name, Any, msgspec.UNSET) for name in sorted(fields)])
    decoder = msgspec.json.Decoder(part)

    def decode(text: str) -> Document:
        found = msgspec.structs.asdict(decoder.decode(text))
        return {name: value for name, value in found.items() if value is not msgspec.UNSET}

    return decode


def _add_computed(tx: Transaction, entity: Entity, documents: list[Document], projection: Projection) -> None:
    """Add what is not in the table."""
    ids = [document["id"] for document in documents]
    for document in documents:
        document["company"] = COMPANY
        for name, default in entity.defaults.items():
            document.setdefault(name, default)
    if entity is TASK or entity is MODEL:
        if projection.wants("last_metrics"):
            node = projection.node.at(("last_metrics",))
            some = node.children and not node.whole
            cells = _some_metrics(tx, ids, node) if some else metrics.last_metrics(tx, ids)
            _put(documents, "last_metrics", cells)
        if projection.wants("metric_stats"):
            _put(documents, "metric_stats", metrics.metric_stats(tx, ids))
    if entity is QUEUE and projection.wants("entries"):
        _put(documents, "entries", _entries(tx, ids))


def _some_metrics(tx: Transaction, owners: Sequence[str], node: Node) -> dict[str, Document]:
    """Return of `last_metrics` what a table of many rows shows, without reading the rest."""
    found: dict[str, Document] = {owner: {} for owner in owners}
    variants = {variant for metric in node.children.values() for variant in metric.children}
    every = any(not metric.children or metric.whole for metric in node.children.values()) or "*" in variants
    rows = tx.execute(
        f"SELECT owner, metric_hash, variant_hash, {', '.join(metrics.CELL)} FROM series"
        " WHERE owner IN (SELECT value FROM json_each(?)) AND metric_hash IN (SELECT value FROM json_each(?))"
        " AND (? OR variant_hash IN (SELECT value FROM json_each(?)))",
        [json.dumps(list(owners)), json.dumps(list(node.children)), every, json.dumps(list(variants))],
    )
    for owner, metric, variant, *values in rows:
        cell = {name: value for name, value in zip(metrics.CELL, values, strict=True) if value is not None}
        found[owner].setdefault(metric, {})[variant] = cell
    return found


def _put(documents: list[Document], name: str, values: Mapping[str, Any]) -> None:
    for document in documents:
        document[name] = values[document["id"]]


def _entries(tx: Transaction, queues: Sequence[str]) -> dict[str, list[Document]]:
    """Return the tasks that wait in each queue, its head first."""
    found: dict[str, list[Document]] = {queue: [] for queue in queues}
    for queue, task, added in tx.execute(
        "SELECT queue, task, added FROM queue_entries WHERE queue IN (SELECT value FROM json_each(?))"
        " ORDER BY queue, position",
        [json.dumps(list(queues))],
    ):
        found[queue].append({"task": task, "added": added})
    return found


def _expand(tx: Transaction, documents: list[Document], path: Path, other: Entity, node: Node) -> None:
    """Replace the ids at a path by objects: `{"id": …}` and the fields that were asked for."""
    places = [place for document in documents for place in _places(document, path)]
    found: dict[str, Document] = {}
    if node.children or node.star:
        wanted = sorted({holder[key] for holder, key in places})
        below = Projection(Node(whole=node.star, children=node.children))
        found = {each["id"]: each for each in fetch(tx, other, wanted, below, expanded=True)}
    for holder, key in places:
        target = holder[key]
        if target.startswith(DELETED):
            del holder[key]
        else:
            holder[key] = found.get(target, {"id": target})


def _places(value: Any, path: Path) -> Iterator[tuple[Document, str]]:
    """Yield the objects that hold an id at the end of a path."""
    if isinstance(value, list):
        for each in value:
            yield from _places(each, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) > 1:
            yield from _places(value[path[0]], path[1:])
        elif isinstance(value[path[0]], str):
            yield value, path[0]
