"""Which fields entities have, and the SQL that reads them."""

import json
from dataclasses import dataclass
from types import MappingProxyType

from stepwise_server.store.entities import COMPANY, MODEL, PROJECT, QUEUE, TASK, USER, Entity
from stepwise_server.store.metrics import CELL
from stepwise_server.store.query.clauses import NULL, Clause
from stepwise_server.store.query.paths import Path

COMPUTED = MappingProxyType(
    {
        TASK.name: {"id", "company", "last_metrics", "metric_stats", "report_assets", "input"},
        MODEL.name: {"id", "company", "last_metrics", "metric_stats", "ui_cache", "stats"},
        PROJECT.name: {
            *("id", "company", "stats", "dataset_stats", "sub_projects", "hidden"),
            *("own_tasks", "own_models", "own_datasets", "own_pipelines", "own_reports"),
        },
        QUEUE.name: {"id", "company", "entries", "workers"},
        USER.name: {"id", "company"},
    }
)
"""Fields, by entity, that are neither a column nor a default of the document."""

INTERNAL = frozenset({"unique_metrics", "enqueue_status", "company_origin", "ui_cache"})
"""Fields of documents that are shown only to those who ask for them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the row that a query looks at.

    Attributes:
        value: its value, if it has one; for a list its JSON text.
        elements: a `SELECT` of the values, if it is a list.
        compact: whether it is a list of texts whose JSON, without spaces, is `value`.
    """

    value: Clause
    elements: Clause | None = None
    compact: bool = False

    @property
    def missing(self) -> Clause:
        """The condition that there is no value, or that the list is empty."""
        if self.compact:
            return Clause(f"{self.value.text} = '[]'", self.value.values)
        if self.elements:
            return Clause(f"NOT EXISTS ({self.elements.text})", self.elements.values)
        text = self.value.text
        return Clause(f"{text} IS NULL OR {text} = ''", self.value.values * 2)


def known(entity: Entity) -> set[str]:
    """Return the fields that can be asked for."""
    names = {*entity.columns, *entity.defaults, *COMPUTED[entity.name]}
    return (names | (INTERNAL if entity is TASK else set())) - entity.private


def resolve(entity: Entity, path: Path) -> Field:
    """Return the field at a path; one that does not exist has the value NULL."""
    table, root = entity.table, path[0]
    if root in entity.private and path != ("path",):
        return Field(NULL)
    if root == "last_metrics":
        return Field(_cell(table, path))
    if path == ("company",):
        return Field(Clause("?", (COMPANY,)))
    if root in entity.json_columns and len(path) == 1:
        column = f"{table}.{root}"
        return Field(Clause(column), Clause(f"SELECT value FROM json_each({column})"), compact=True)
    if root == "id" or root in entity.columns:
        return Field(Clause(f"{table}.{root}") if len(path) == 1 else NULL)
    if path == ("entries", "task") and entity is QUEUE:
        return Field(NULL, Clause(f"SELECT task AS value FROM queue_entries WHERE queue = {table}.id"))
    if path[:2] in (("models", "input"), ("models", "output")) and len(path) == 3:
        member = _member("value", path[2:])
        among = Clause(
            f"SELECT {member.text} AS value FROM json_each({table}.doc, '$.models.{path[1]}')"
            " WHERE type = 'object'",
            member.values,
        )
        return Field(_member(f"{table}.doc", path[:2]), among)
    return Field(_member(f"{table}.doc", path))


def _cell(table: str, path: Path) -> Clause:
    """Return one cell of `last_metrics`."""
    if len(path) != 4 or path[3] not in CELL:
        return NULL
    where = f"owner = {table}.id AND metric_hash = ? AND variant_hash = ?"
    return Clause(f"(SELECT {path[3]} FROM series WHERE {where})", path[1:3])


def _member(document: str, path: Path) -> Clause:
    """Return a member of a JSON document.

    SQLite's paths cannot quote every key; those with odd characters go through a function of ours.
    """
    if all(key and key.isprintable() and '"' not in key and "\\" not in key for key in path):
        return Clause(f"json_extract({document}, ?)", ("$" + "".join(f'."{key}"' for key in path),))
    return Clause(f"json_member({document}, ?)", (json.dumps(path),))
