"""Plots: those of one task, those of several side by side; vectors."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.events.batch import PLOT, VECTOR
from stepwise_server.api.events.requests import bounded, names_wanted, owner_of, owners_of
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import missing
from stepwise_server.store.charts import Names, is_wanted
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import new_id
from stepwise_server.store.events import COLUMNS, Document, from_row, variants_of


def _latest(tx: Transaction, owner: str, names: Names, iterations: int) -> list[Document]:
    """Return the plots of the newest iterations of each metric and variant, newest first."""
    found: list[Document] = []
    for metric, variant in variants_of(tx, owner, PLOT):
        if not is_wanted(names, metric, variant):
            continue
        rows = tx.execute(
            f"""SELECT {COLUMNS} FROM events
                WHERE owner = ?1 AND type = ?2 AND metric = ?3 AND variant = ?4 AND iter IN (
                    SELECT DISTINCT iter FROM events
                    WHERE owner = ?1 AND type = ?2 AND metric = ?3 AND variant = ?4
                    ORDER BY iter DESC LIMIT ?5)
                ORDER BY iter DESC, id""",
            [owner, PLOT, metric, variant, iterations],
        )
        found += [from_row(row) for row in rows]
    return found


@endpoint("events.get_task_plots")
def get_task_plots(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the newest plots of each metric and variant, all in one page: what follows is empty."""
    owner = owner_of(tx, call)
    iterations = bounded(call, "iters", 1, 1 << 31)
    plots = [] if call.text("scroll_id") else _latest(tx, owner, names_wanted(call), iterations)
    return {"plots": plots, "returned": len(plots), "total": len(plots)}


@endpoint("events.get_multi_task_plots")
def get_multi_task_plots(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the newest plots of several tasks: metric: variant: task: iteration: name of the task, plots.

    With `last_iters_per_task_metric` false, the newest iterations are those of the whole task.
    Everything is in the first page. Clients ask on until `returned` is 0, so any further page is empty.
    """
    owners, names = owners_of(tx, call), names_wanted(call)
    iterations = bounded(call, "iters", 1, 1 << 31)
    scroll_id = call.text("scroll_id")
    found: dict[str, Any] = {}
    total = 0
    for owner, name in owners.items() if not scroll_id else ():
        plots = _latest(tx, owner, names, iterations)
        if not call.flag("last_iters_per_task_metric", default=True):
            newest = sorted({plot["iter"] for plot in plots}, reverse=True)[:iterations]
            plots = [plot for plot in plots if plot["iter"] in newest]
        total += len(plots)
        for plot in plots:
            variants = found.setdefault(plot["metric"], {})
            by_iteration = variants.setdefault(plot["variant"], {}).setdefault(owner, {})
            entry = by_iteration.setdefault(str(plot["iter"]), {"name": name, "plots": []})
            entry["plots"].append(plot)
    answer = {"plots": found, "returned": len(found), "total": total}
    return answer if call.flag("no_scroll") else {**answer, "scroll_id": scroll_id or new_id()}


@endpoint("events.vector_metrics_iter_histogram")
def vector_metrics_iter_histogram(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return all vectors of one metric and variant, with their iterations."""
    owner, metric = owner_of(tx, call), call.text("metric")
    if not call.given("metric"):
        raise missing("metric")
    if not call.given("variant"):
        raise missing("variant")
    variant = call.text("variant")
    rows = tx.execute(
        f"""SELECT {COLUMNS} FROM events
            WHERE owner = ? AND type = ? AND metric = ? AND variant = ? ORDER BY iter, id""",
        [owner, VECTOR, metric, variant],
    )
    events = [from_row(row) for row in rows]
    return {
        "metric": metric,
        "variant": variant,
        "vectors": [event["value"] for event in events],
        "iterations": [event["iter"] for event in events],
    }
