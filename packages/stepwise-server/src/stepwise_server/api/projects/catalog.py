"""What the tasks and models of projects have: metrics, parameters, metadata, parents, owners.

The web app fills its menus of columns and filters from these.
"""

from collections.abc import Sequence
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid, missing
from stepwise_server.store import projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.query.clauses import TRUE, Clause, among, both
from stepwise_server.store.query.fields import Field
from stepwise_server.store.query.patterns import found

ARCHIVED = "EXISTS (SELECT 1 FROM json_each({}.system_tags) WHERE value = 'archived')"


def within(tx: Transaction, call: Call, table: str, *, default: bool = True) -> Clause:
    """Return the condition that a row belongs to the projects of a call; all rows if it names none.

    Args:
        tx: reads.
        call: its `project` or `projects` are the projects, `include_subprojects` tells whether those below count.
        table: tasks or models.
        default: of `include_subprojects`.
    """
    ids = call.texts("projects") or call.texts("project")
    if not ids:
        return TRUE
    if call.flag("include_subprojects", default=default):
        ids = [*ids, *projects.subtree(tx, ids)]
    right = among(ids)
    return Clause(f"{table}.project {right.text}", right.values)


@endpoint("projects.get_unique_metric_variants")
def get_unique_metric_variants(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the metrics and variants of all tasks, or models, of a project."""
    table = "models" if call.flag("model_metrics") else "tasks"
    parts = [within(tx, call, table)]
    if ids := call.texts("ids"):
        right = among(ids)
        parts.append(Clause(f"{table}.id {right.text}", right.values))
    condition = both(parts)
    rows = tx.execute(
        "SELECT DISTINCT metric, metric_hash, variant, variant_hash FROM series"
        f" WHERE owner IN (SELECT id FROM {table} WHERE {condition.text}) ORDER BY metric, variant",
        condition.values,
    )
    names = ("metric", "metric_hash", "variant", "variant_hash")
    return {"metrics": [dict(zip(names, row, strict=True)) for row in rows]}


def _page(call: Call, rows: Sequence[Any]) -> tuple[list[Any], dict[str, int]]:
    """Return a page of rows, and how many there are and follow."""
    page, size = call.integer("page", 0) or 0, call.integer("page_size", 500)
    if page < 0 or size is None or size < 1:
        raise invalid("page starts with 0, page_size with 1", page=page, page_size=size)
    shown = list(rows[page * size : (page + 1) * size])
    return shown, {"total": len(rows), "remaining": max(0, len(rows) - (page + 1) * size)}


@endpoint("projects.get_hyper_parameters")
def get_hyper_parameters(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the sections and names of the hyperparameters that tasks of a project have."""
    condition = within(tx, call, "tasks")
    rows = tx.execute(
        "SELECT DISTINCT section.key, parameter.key FROM tasks,"
        " json_each(tasks.doc, '$.hyperparams') AS section, json_each(section.value) AS parameter"
        f" WHERE section.type = 'object' AND ({condition.text}) ORDER BY 1, 2",
        condition.values,
    ).fetchall()
    shown, counts = _page(call, rows)
    return {**counts, "parameters": [{"section": section, "name": name} for section, name in shown]}


@endpoint("projects.get_hyperparam_values")
def get_hyperparam_values(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the values that a hyperparameter has in tasks of projects, numbers in order of size."""
    if not call.given("section") or not call.given("name"):
        raise missing("section, name")
    return _values(
        tx,
        call,
        "SELECT DISTINCT json_extract(parameter.value, '$.value') AS value FROM tasks,"
        " json_each(tasks.doc, '$.hyperparams') AS section, json_each(section.value) AS parameter"
        " WHERE section.type = 'object' AND parameter.type = 'object'"
        " AND section.key = ? AND parameter.key = ? AND ({})",
        Clause("", (call.text("section"), call.text("name"))),
        within(tx, call, "tasks"),
    )


@endpoint("projects.get_model_metadata_keys")
def get_model_metadata_keys(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the keys of the metadata that models of a project have."""
    condition = within(tx, call, "models")
    rows = tx.column(
        "SELECT DISTINCT item.key FROM models, json_each(models.doc, '$.metadata') AS item"
        f" WHERE {condition.text} ORDER BY 1",
        condition.values,
    )
    shown, counts = _page(call, rows)
    return {**counts, "keys": shown}


@endpoint("projects.get_model_metadata_values")
def get_model_metadata_values(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the values that a key of the metadata has in models of projects."""
    return _values(
        tx,
        call,
        "SELECT DISTINCT json_extract(item.value, '$.value') AS value FROM models,"
        " json_each(models.doc, '$.metadata') AS item WHERE item.type = 'object' AND item.key = ? AND ({})",
        Clause("", (call.required("key"),)),
        within(tx, call, "models"),
    )


def _values(tx: Transaction, call: Call, statement: str, key: Clause, condition: Clause) -> dict[str, Any]:
    """Return a page of the distinct values that a statement selects, filtered by the call's `pattern`."""
    matching = TRUE
    if pattern := call.text("pattern"):
        matching = found(Field(Clause("value")), pattern, "pattern", ignore_case=True)
    rows = tx.column(
        f"SELECT value FROM ({statement.format(condition.text)}) WHERE value IS NOT NULL AND ({matching.text})"
        " ORDER BY sort_value(value), value",
        (*key.values, *condition.values, *matching.values),
    )
    shown, counts = _page(call, rows)
    return {"total": counts["total"], "values": shown}


@endpoint("projects.get_task_parents")
def get_task_parents(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the tasks that are parents of tasks in projects, by name."""
    parts = [within(tx, call, "tasks")]
    if call.text("task_name"):
        parts.append(
            found(Field(Clause("parent.name")), call.text("task_name"), "task_name", ignore_case=True)
        )
    state = call.text("tasks_state", "" if "tasks_state" in call.params else "active")
    if state not in ("", "active", "archived"):
        raise invalid("tasks_state is active or archived", value=state)
    if state:
        archived = ARCHIVED.format("tasks")
        parts.append(Clause(archived if state == "archived" else f"NOT {archived}"))
    condition = both(parts)
    rows = tx.execute(
        "SELECT DISTINCT parent.id, parent.name, project.id, project.name"
        " FROM tasks JOIN tasks AS parent ON parent.id = tasks.parent"
        " LEFT JOIN projects AS project ON project.id = parent.project"
        f" WHERE {condition.text} ORDER BY parent.name, parent.id",
        condition.values,
    )
    parents = []
    for parent, name, project, project_name in rows:
        shown = {"id": parent, "name": name}
        parents.append({**shown, "project": {"id": project, "name": project_name}} if project else shown)
    return {"parents": parents}


@endpoint("projects.get_user_names")
def get_user_names(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the users that own tasks or models in projects, by name."""
    entity = call.text("entity")
    parts: list[str] = []
    values: list[Any] = []
    for table in ("tasks", "models"):
        if entity in ("", table, table[:-1]):
            condition = within(tx, call, table)
            parts.append(f"SELECT user FROM {table} WHERE {condition.text}")
            values.extend(condition.values)
    if not parts:
        raise invalid("entity is task or model", value=entity)
    rows = tx.execute(
        f"SELECT id, name FROM users WHERE id IN ({' UNION '.join(parts)}) ORDER BY name, id", values
    )
    return {"users": [{"id": user, "name": name} for user, name in rows]}
