"""One call for many entities."""

from collections.abc import Callable
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import stamps
from stepwise_server.errors import ApiError, missing
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document, Entity

ARCHIVED = "archived"


def for_each(
    tx: Transaction, call: Call, entity: Entity, work: Callable[[Document], dict[str, Any]]
) -> dict[str, Any]:
    """Do something with each entity that the call's `ids` name; one that fails does not hinder the others.

    Args:
        tx: a writing transaction.
        call: the call.
        entity: what the ids stand for.
        work: is given the stored document, and returns what the answer says of it.

    Returns:
        `{succeeded: [{id, ...}], failed: [{id, error: {codes, msg, data}}]}`.
    """
    succeeded, failed = [], []
    for each in dict.fromkeys(call.ids()):
        tx.execute("SAVEPOINT item")
        try:
            succeeded.append({"id": each, **work(entities.load(tx, entity, each))})
        except ApiError as error:
            tx.execute("ROLLBACK TO item")
            failed.append({"id": each, "error": error_item(error)})
        finally:
            tx.execute("RELEASE item")
    return {"succeeded": succeeded, "failed": failed}


def error_item(error: ApiError) -> dict[str, Any]:
    """Return an error as it appears inside an answer."""
    data = {key: str(value) for key, value in error.data.items()}
    return {"codes": [error.code, error.subcode], "msg": str(error), "data": data}


def set_archived(tx: Transaction, call: Call, entity: Entity, document: Document, archived: bool) -> None:
    """Add the system tag that keeps an entity out of the usual lists, or take it away."""
    tags = set(document["system_tags"])
    tags = tags | {ARCHIVED} if archived else tags - {ARCHIVED}
    entities.save(
        tx,
        entity,
        document["id"],
        {"system_tags": list(tags), **stamps(tx, call, document, content=False)},
    )
    projects.touch(tx, document.get("project"))


def update_tags(tx: Transaction, call: Call, entity: Entity) -> dict[str, Any]:
    """Answer `*.update_tags`: add and remove tags of many entities; ids that are not known are skipped."""
    if not call.given("add_tags") and not call.given("remove_tags"):
        raise missing("add_tags")
    added, removed = set(call.texts("add_tags")), set(call.texts("remove_tags"))
    found = entities.load_many(tx, entity, call.ids())
    for document in found:
        tags = (set(document["tags"]) | added) - removed
        changes = {"tags": list(tags), **stamps(tx, call, document, content=False)}
        entities.save(tx, entity, document["id"], changes)
    return {"updated": len(found)}


def refuse_public(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer `*.make_public`: nothing is shared between companies where there is only one."""
    call.ids()
    raise ApiError(400, 1, "Not supported (this server has one company)")


def nothing_public(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer `*.make_private`: no object is public."""
    raise ApiError(400, 24, "Object is not public", ids=call.ids())
