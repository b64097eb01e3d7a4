"""get_all, get_all_ex, get_by_id and get_by_id_ex; what is particular to projects is in `api/projects/listing.py`."""

import json
from typing import Any

from stepwise_server.api import paging
from stepwise_server.api.call import Call
from stepwise_server.api.registry import Handler, endpoint
from stepwise_server.errors import missing
from stepwise_server.store import projects, workers
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import ENTITIES, MODEL, QUEUE, TASK, USER, Document, Entity
from stepwise_server.store.query import documents, ordering, projection
from stepwise_server.store.query.clauses import TRUE, Clause, both
from stepwise_server.store.query.filters import where
from stepwise_server.store.query.selection import select


def find(
    tx: Transaction, call: Call, entity: Entity, *, expanded: bool = False, also: Clause = TRUE
) -> dict[str, Any]:
    """Return the entities that a call asks for, under their plural name, and the scroll if there is one.

    Args:
        tx: reads.
        call: its parameters are the query.
        entity: what is asked for.
        expanded: whether references become objects.
        also: a further condition.
    """
    shown = projection.parse(entity, call.params.get("only_fields") or call.params.get("projection"))
    pager = paging.pager(call)
    condition = both([where(tx, entity, call.params), also])
    ids = select(tx, entity, condition, ordering.order(entity, call.params.get("order_by")), pager.window)
    found = documents.fetch(tx, entity, ids, shown, expanded=expanded)
    return {entity.table: found, **pager.sent(len(found))}


def _register(entity: Entity) -> None:
    """Make the `get_by_id` of an entity: it is asked for after almost every edit, and does nothing besides."""

    def get_by_id(tx: Transaction, call: Call) -> dict[str, Any]:
        document = documents.one(tx, entity, call.required(entity.name))
        if entity is QUEUE:
            _cut_entries(call, [document])
        return {entity.name: document}

    endpoint(f"{entity.table}.get_by_id")(get_by_id)


def _register_lists(entity: Entity) -> None:
    """Make `get_all`, `get_all_ex` and `get_by_id_ex` of tasks or models."""

    def get_all(tx: Transaction, call: Call) -> dict[str, Any]:
        return find(tx, call, entity)

    def get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
        answer = find(tx, call, entity, expanded=True)
        if entity is MODEL and call.flag("include_stats"):
            _add_label_counts(tx, answer["models"])
        return answer

    def get_by_id_ex(tx: Transaction, call: Call) -> dict[str, Any]:
        if not call.params.get("id"):
            raise missing("id")
        return find(tx, call, entity, expanded=True)

    handlers: dict[str, Handler] = {
        "get_all": get_all,
        "get_all_ex": get_all_ex,
        "get_by_id_ex": get_by_id_ex,
    }
    for action, handler in handlers.items():
        endpoint(f"{entity.table}.{action}")(handler)


def _add_label_counts(tx: Transaction, models: list[Document]) -> None:
    counts = tx.execute(
        "SELECT id, (SELECT count(*) FROM json_each(doc, '$.labels')) FROM models"
        " WHERE id IN (SELECT value FROM json_each(?))",
        [json.dumps([model["id"] for model in models])],
    )
    labels = dict(counts.fetchall())
    for model in models:
        model["stats"] = {"labels_count": labels[model["id"]]}


for _entity in ENTITIES:
    _register(_entity)
_register_lists(TASK)
_register_lists(MODEL)


@endpoint("queues.get_all")
def queues_get_all(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return queues, with references as ids."""
    answer = find(tx, call, QUEUE)
    _cut_entries(call, answer["queues"])
    return answer


@endpoint("queues.get_all_ex")
def queues_get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return queues, with references as objects and with the workers that serve them."""
    answer = find(tx, call, QUEUE, expanded=True)
    _cut_entries(call, answer["queues"])
    serving = workers.queue_workers(tx, [queue["id"] for queue in answer["queues"]])
    for queue in answer["queues"]:
        queue["workers"] = serving[queue["id"]]
    return answer


def _cut_entries(call: Call, queues: list[Document]) -> None:
    """Leave only the first `max_task_entries` waiting tasks of each queue."""
    most = call.integer("max_task_entries")
    for queue in queues:
        if most is not None and "entries" in queue:
            queue["entries"] = queue["entries"][: max(0, most)]


@endpoint("users.get_all")
def users_get_all(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return users."""
    return find(tx, call, USER)


@endpoint("users.get_all_ex")
def users_get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return users, those that own tasks in the projects `active_in_projects` if that is given."""
    within = call.texts("active_in_projects")
    if not call.given("active_in_projects"):
        return find(tx, call, USER, expanded=True)
    condition, values = "1", []
    if within:
        condition = "project IN (SELECT value FROM json_each(?))"
        values = [json.dumps(projects.subtree(tx, within))]
    active = Clause(f"users.id IN (SELECT user FROM tasks WHERE {condition})", tuple(values))
    return find(tx, call, USER, expanded=True, also=active)
