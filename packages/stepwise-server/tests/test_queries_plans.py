"""The queries that clients send all the time follow an index."""

from typing import Any

import pytest
from query_tools import memory

from stepwise_server.store.entities import MODEL, PROJECT, TASK, Entity
from stepwise_server.store.query.filters import where
from stepwise_server.store.query.ordering import order

USUAL = ["__$not", "archived", "__$not", "pipeline", "__$not", "dataset", "__$not", "Annotation"]


@pytest.mark.parametrize(
    ("entity", "params", "order_by", "index"),
    [
        (TASK, {"system_tags": USUAL}, ["-last_update"], "tasks_last_update"),
        (TASK, {"system_tags": USUAL, "project": ["p"]}, ["-last_update"], "tasks_project"),
        (TASK, {"id": ["a", "b"]}, None, "sqlite_autoindex_tasks_1"),
        (TASK, {"parent": ["a"]}, None, "tasks_parent"),
        (MODEL, {"task": ["a"]}, ["created"], "models_task"),
        (MODEL, {"uri": ["a", "b"]}, None, "models_uri"),
        (PROJECT, {"name": r"^My\ Proj/sub\ ü$", "search_hidden": True}, None, "sqlite_autoindex_projects_2"),
    ],
)
def test_usual_queries_follow_an_index(
    entity: Entity, params: dict[str, Any], order_by: Any, index: str
) -> None:
    with memory() as tx:
        condition, sorting = where(tx, entity, params), order(entity, order_by)
        rows = tx.execute(
            f"EXPLAIN QUERY PLAN SELECT id FROM {entity.table} WHERE {condition.text} ORDER BY {sorting.text} LIMIT 15",
            (*condition.values, *sorting.values),
        ).fetchall()
    plan = " / ".join(row[3] for row in rows)
    assert f"INDEX {index}" in plan, plan
