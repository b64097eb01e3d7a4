"""events.add_batch, events.add: events into the database, and their effects on tasks and models."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import seconds_between
from stepwise_server.api.events.batch import Batch, Report
from stepwise_server.api.events.decode import decode_batch, decode_lines
from stepwise_server.api.events.deletion import LOCKED
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import ApiError
from stepwise_server.store.database import Transaction
from stepwise_server.store.events import add_events
from stepwise_server.store.logs import add_lines
from stepwise_server.store.scalars import add_points


def _decode_one(call: Call) -> Batch:
    """Return the one event that the parameters of `events.add` are."""
    return decode_lines([msgspec.json.encode(call.params)], call.worker)


@endpoint("events.add_batch", writes=True, batch=True, prepare=decode_batch)
def add_batch(tx: Transaction, call: Call) -> dict[str, Any]:
    """Store a batch of events.

    Raises:
        ApiError: 400/131 if none of them could be stored.
    """
    batch: Batch = call.prepared
    errors = batch.errors.copy()
    owners = _writable(tx, batch.reports.values())
    added = 0
    for report in batch.reports.values():
        if report.owner not in owners:
            what = (
                "Invalid model id or the model is published"
                if report.model
                else ("Invalid task id or the task is published")
            )
            errors[what] += report.count
        elif report.count:
            _store(tx, call, report, owners[report.owner])
            added += report.count
    if not added:
        raise ApiError(400, 131, "Events not added", **errors)
    return {"added": added, "errors": errors.total(), "errors_info": dict(errors)}


@endpoint("events.add", writes=True, prepare=_decode_one)
def add(tx: Transaction, call: Call) -> dict[str, Any]:
    """Store one event, given as the parameters."""
    answer: dict[str, Any] = add_batch(tx, call)
    return answer


def _writable(tx: Transaction, reports: Iterable[Report]) -> dict[str, tuple[str, str | None]]:
    """Return status and start of the tasks, and of the models, that take the events of these reports."""
    wanted = {report.owner: report for report in reports}
    ids = [json.dumps(list(wanted))]
    found: dict[str, tuple[str, str | None]] = {}
    for owner, status, started in tx.execute(
        "SELECT id, status, started FROM tasks WHERE id IN (SELECT value FROM json_each(?))", ids
    ):
        if not wanted[owner].model and (wanted[owner].allow_locked or status not in LOCKED):
            found[owner] = status, started
    for owner, ready in tx.execute(
        "SELECT id, ready FROM models WHERE id IN (SELECT value FROM json_each(?))", ids
    ):
        if wanted[owner].model and (wanted[owner].allow_locked or not ready):
            found[owner] = "", None
    return found


def _store(tx: Transaction, call: Call, report: Report, state: tuple[str, str | None]) -> None:
    """Store the events of one task or model, and tell it so."""
    owner = report.owner
    if report.points:
        add_points(tx, owner, report.points)
    if report.events:
        add_events(tx, owner, report.events)
    if report.lines:
        add_lines(tx, owner, report.lines)
    if report.model:
        tx.execute(
            "UPDATE models SET last_iteration = max(last_iteration, ?) WHERE id = ?",
            [report.last_iteration, owner],
        )
    else:
        status, started = state
        running = seconds_between(started, tx.now) if started and status == "in_progress" else None
        tx.execute(
            """UPDATE tasks SET last_update = ?1, last_change = ?1, last_changed_by = ?2,
                   last_iteration = max(last_iteration, ?3), active_duration = ifnull(?4, active_duration)
               WHERE id = ?5""",
            [tx.now, call.user, report.last_iteration, running, owner],
        )
    tx.executemany(
        "INSERT OR REPLACE INTO metric_stats (owner, metric, type, last_update) VALUES (?, ?, ?, ?)",
        [(owner, metric, kind, tx.now) for metric, kind in report.metrics],
    )
