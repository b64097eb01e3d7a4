"""Tasks, models, projects, queues and users: documents in and out of their tables.

An entity is one dictionary, as the API shows it (references as ids). Its fields live in columns where
something filters or sorts on them, the others in the JSON text `doc`. Nobody else needs to know which.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stepwise_server.errors import ApiError
from stepwise_server.store.database import Transaction

Document = dict[str, Any]

COMPANY = "d1bd92a3b039400cbafc60a7a5b1e52b"
"""The one company of every installation; the official web app has this id built in."""


@dataclass(frozen=True)
class Entity:
    """What is known of a kind of entity.

    Attributes:
        name: in the singular; the API's parameter for its id.
        table: the table, and the key of lists in answers.
        columns: fields with a column, in the table's order.
        json_columns: those among them whose text is JSON.
        defaults: fields of `doc` that are always there.
        not_found: `result_subcode` for an unknown id.
        private: columns that are never shown.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    defaults: Mapping[str, Any]
    not_found: int
    json_columns: frozenset[str] = frozenset({"tags", "system_tags"})
    bool_columns: frozenset[str] = frozenset()
    private: frozenset[str] = field(default=frozenset())

    def unknown(self, entity_id: Any) -> ApiError:
        """Return the error for an id that does not exist."""
        return ApiError(400, self.not_found, f"Invalid {self.name} id", id=entity_id)


TASK = Entity(
    name="task",
    table="tasks",
    columns=tuple(
        [
            "name",
            "type",
            "status",
            "status_reason",
            "status_message",
            "status_changed",
            "comment",
            "report",
            "parent",
            "project",
            "user",
            "tags",
            "system_tags",
            "created",
            "started",
            "completed",
            "published",
            "active_duration",
            "last_update",
            "last_change",
            "last_changed_by",
            "last_iteration",
            "last_worker",
            "last_worker_report",
        ]
    ),
    defaults={
        "output": {},
        "execution": {
            "parameters": {},
            "model_desc": {},
            "model_labels": {},
            "test_split": 0,
            "artifacts": [],
        },
        "script": {"binary": "python", "repository": "", "entry_point": "", "working_dir": ""},
        "hyperparams": {},
        "configuration": {},
        "runtime": {},
        "container": {},
        "models": {"input": [], "output": []},
    },
    not_found=101,
)
MODEL = Entity(
    name="model",
    table="models",
    columns=tuple(
        [
            "name",
            "parent",
            "project",
            "task",
            "user",
            "comment",
            "uri",
            "framework",
            "ready",
            "tags",
            "system_tags",
            "created",
            "last_update",
            "last_change",
            "last_changed_by",
            "last_iteration",
        ]
    ),
    defaults={"design": {}, "labels": {}, "metadata": {}},
    not_found=201,
    bool_columns=frozenset({"ready"}),
)
PROJECT = Entity(
    name="project",
    table="projects",
    columns=tuple(
        [
            "name",
            "basename",
            "description",
            "parent",
            "path",
            "user",
            "default_output_destination",
            "featured",
            "logo_url",
            "tags",
            "system_tags",
            "created",
            "last_update",
        ]
    ),
    defaults={},
    not_found=401,
    json_columns=frozenset({"tags", "system_tags", "path"}),
    private=frozenset({"path"}),
)
QUEUE = Entity(
    name="queue",
    table="queues",
    columns=tuple(["name", "display_name", "user", "tags", "system_tags", "created", "last_update"]),
    defaults={"metadata": {}},
    not_found=701,
)
USER = Entity(
    name="user",
    table="users",
    columns=tuple(
        [
            "name",
            "family_name",
            "given_name",
            "avatar",
            "role",
            "username",
            "password_hash",
            "preferences",
            "created",
        ]
    ),
    defaults={},
    not_found=301,
    json_columns=frozenset({"preferences"}),
    private=frozenset({"username", "password_hash", "preferences"}),
)

ENTITIES = (TASK, MODEL, PROJECT, QUEUE, USER)


def new_id() -> str:
    """Return 32 random lower-case hex digits; clients tell ids from names by that form."""
    return uuid.uuid4().hex


def insert(tx: Transaction, entity: Entity, document: Document) -> str:
    """Add an entity and return its id, a new one unless the document has one. Fields that are None are left out."""
    entity_id: str = document.get("id") or new_id()
    values = {**_fresh(entity), **{name: value for name, value in document.items() if value is not None}}
    values.pop("id", None)
    columns = [_to_column(entity, name, values.pop(name, None)) for name in entity.columns]
    marks = ", ".join("?" * (2 + len(columns)))
    names = ", ".join(("id", "doc", *entity.columns))
    tx.execute(f"INSERT INTO {entity.table} ({names}) VALUES ({marks})", (entity_id, _text(values), *columns))
    return entity_id


def load(tx: Transaction, entity: Entity, entity_id: Any) -> Document:
    """Return an entity with all that is stored of it, private fields included.

    Raises:
        ApiError: 400 with the entity's subcode if there is none.
    """
    found = load_many(tx, entity, [entity_id]) if isinstance(entity_id, str) else []
    if not found:
        raise entity.unknown(entity_id)
    return found[0]


def load_many(tx: Transaction, entity: Entity, ids: Sequence[str]) -> list[Document]:
    """Return the entities that exist among these ids, in the order of the ids."""
    names = ", ".join(("id", "doc", *entity.columns))
    rows = tx.execute(
        f"SELECT {names} FROM {entity.table} WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(ids))],
    )
    found = {row[0]: from_row(entity, row, entity.columns) for row in rows}
    return [found[each] for each in ids if each in found]


def from_row(
    entity: Entity,
    row: tuple[Any, ...],
    columns: Sequence[str],
    decode: Callable[[str], Document] = msgspec.json.decode,
) -> Document:
    """Return the document of a row of `id`, `doc` and these columns of the entity; `decode` may pass over parts."""
    document: Document = {"id": row[0], **decode(row[1])}
    for name, value in zip(columns, row[2:], strict=True):
        if value is None:
            continue
        if name in entity.json_columns:
            value = msgspec.json.decode(value)
        elif name in entity.bool_columns:
            value = bool(value)
        document[name] = value
    return document


def save(tx: Transaction, entity: Entity, entity_id: str, changes: Document) -> None:
    """Replace fields of an entity; None removes one. What should only add to a field is merged by the caller."""
    columns = {name: value for name, value in changes.items() if name in entity.columns}
    others = {name: value for name, value in changes.items() if name not in entity.columns}
    values = {name: _to_column(entity, name, value) for name, value in columns.items()}
    if others:
        document = msgspec.json.decode(tx.value(f"SELECT doc FROM {entity.table} WHERE id = ?", [entity_id]))
        document.update(others)
        values["doc"] = _text({name: value for name, value in document.items() if value is not None})
    if values:
        settings = ", ".join(f"{name} = ?" for name in values)
        tx.execute(f"UPDATE {entity.table} SET {settings} WHERE id = ?", (*values.values(), entity_id))


def exists(tx: Transaction, entity: Entity, entity_id: Any) -> bool:
    """Tell whether there is an entity with this id."""
    return isinstance(entity_id, str) and bool(
        tx.one(f"SELECT 1 FROM {entity.table} WHERE id = ?", [entity_id])
    )


def remove(tx: Transaction, entity: Entity, entity_id: str) -> None:
    """Delete the row of an entity."""
    tx.execute(f"DELETE FROM {entity.table} WHERE id = ?", [entity_id])


def sorted_tags(tags: Sequence[str]) -> list[str]:
    """Return tags as they are stored: sorted, each once."""
    return sorted(set(tags))


def _fresh(entity: Entity) -> Document:
    """Return the entity's defaults, safe to change."""
    tags: Document = {name: [] for name in entity.json_columns if name != "preferences"}
    fresh: Document = json.loads(json.dumps({**entity.defaults, **tags}))
    return fresh


def _to_column(entity: Entity, name: str, value: Any) -> Any:
    if name in entity.json_columns:
        if name in ("tags", "system_tags"):
            value = sorted_tags(value or [])
        return _text({} if value is None else value)
    return value


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
