"""Tasks, models and projects put straight into a database, to be found again."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stepwise_server.store import entities, projects, schema
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, TASK, Entity
from stepwise_server.store.functions import add_functions
from stepwise_server.store.query.filters import where
from stepwise_server.store.query.ordering import order
from stepwise_server.store.query.selection import Window, select
from stepwise_server.testing import LocalServer

USER = "__tests__"


@contextmanager
def memory() -> Iterator[Transaction]:
    """Give a transaction on a database of its own, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    add_functions(connection)
    try:
        yield Transaction(connection)
    finally:
        connection.close()


def task(tx: Transaction, name: str = "a task", **fields: Any) -> str:
    """Put a task into the database and return its id."""
    times = dict.fromkeys(("created", "status_changed", "last_update", "last_change"), tx.now)
    state = {"type": "training", "status": "created", "status_reason": "", "status_message": ""}
    return entities.insert(
        tx, TASK, {"name": name, **state, "user": USER, "last_iteration": 0, **times, **fields}
    )


def model(tx: Transaction, name: str = "a model", **fields: Any) -> str:
    """Put a model into the database and return its id."""
    times = dict.fromkeys(("created", "last_update", "last_change"), tx.now)
    return entities.insert(
        tx, MODEL, {"name": name, "user": USER, "ready": False, "last_iteration": 0, **times, **fields}
    )


def project(tx: Transaction, name: str, **fields: Any) -> str:
    """Put a project, and those above it, into the database and return its id."""
    made = projects.find_or_create(tx, USER, name)
    entities.save(tx, entities.PROJECT, made, fields)
    return made


def found(tx: Transaction, entity: Entity = TASK, order_by: Any = "name", **params: Any) -> list[str]:
    """Return the names of what a query finds."""
    return found_with(tx, params, entity, order_by)


def found_with(
    tx: Transaction, params: dict[str, Any], entity: Entity = TASK, order_by: Any = "name"
) -> list[str]:
    """Return the names of what a query finds whose parameters have dots in their names."""
    ids = select(tx, entity, where(tx, entity, params), order(entity, order_by), Window(1000))
    return [each["name"] for each in entities.load_many(tx, entity, ids)]


def write(server: LocalServer, make: Any, *args: Any, **fields: Any) -> str:
    """Run `task`, `model` or `project` on a server's database."""
    made: str = server.services.database.write(lambda tx: make(tx, *args, **fields))
    return made
