"""get_all, get_all_ex, get_by_id and get_by_id_ex of tasks, models, projects, queues and users."""

from typing import Any

from stepwise_server.api import paging
from stepwise_server.api.call import Call
from stepwise_server.api.registry import Handler, endpoint
from stepwise_server.errors import missing
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import ENTITIES, Document, Entity
from stepwise_server.store.query import documents, ordering, projection
from stepwise_server.store.query.filters import where
from stepwise_server.store.query.selection import select


def find(tx: Transaction, call: Call, entity: Entity, *, expanded: bool = False) -> dict[str, Any]:
    """Return the entities that a call asks for, under their plural name, and the scroll if there is one."""
    shown = projection.parse(entity, call.params.get("only_fields") or call.params.get("projection"))
    pager = paging.pager(call)
    condition = where(tx, entity, call.params)
    ids = select(tx, entity, condition, ordering.order(entity, call.params.get("order_by")), pager.window)
    found = documents.fetch(tx, entity, ids, shown, expanded=expanded)
    return {entity.table: found, **pager.sent(len(found))}


def by_id(tx: Transaction, call: Call, entity: Entity) -> Document:
    """Return the entity that a call names, with references as ids."""
    return documents.one(tx, entity, call.required(entity.name))


def _register(entity: Entity) -> None:
    """Make the endpoints of an entity; those of all entities are alike."""

    def get_all(tx: Transaction, call: Call) -> dict[str, Any]:
        return find(tx, call, entity)

    def get_all_ex(tx: Transaction, call: Call) -> dict[str, Any]:
        return find(tx, call, entity, expanded=True)

    def get_by_id(tx: Transaction, call: Call) -> dict[str, Any]:
        return {entity.name: by_id(tx, call, entity)}

    def get_by_id_ex(tx: Transaction, call: Call) -> dict[str, Any]:
        if not call.params.get("id"):
            raise missing("id")
        return find(tx, call, entity, expanded=True)

    handlers: dict[str, Handler] = {"get_all": get_all, "get_all_ex": get_all_ex, "get_by_id": get_by_id}
    if entity.table in ("tasks", "models"):
        handlers["get_by_id_ex"] = get_by_id_ex
    for action, handler in handlers.items():
        endpoint(f"{entity.table}.{action}")(handler)


for _entity in ENTITIES:
    _register(_entity)
