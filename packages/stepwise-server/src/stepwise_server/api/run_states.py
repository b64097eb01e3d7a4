"""stepwise.run_states: which runs are alive. No endpoint of ClearML; for the page and for `stepwise runs`."""

import json
from datetime import datetime
from typing import Any

from stepwise_server import limits
from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.heartbeats import RUNNING
from stepwise_server.store.database import Transaction


@endpoint("stepwise.run_states")
def run_states(tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer how runs are: those of the given `tasks`, or all that are in progress.

    Returns:
        `{states: [{task, status, state, last_sign, seconds_since_sign}]}`. `state` is `waiting` before a run,
        `ended` after it, and between them `live`, `stalled` (late) or `dead` (silent for too long). Tasks that
        do not exist are left out.
    """
    if call.given("tasks"):
        rows = tx.execute(
            "SELECT id, status, last_update FROM tasks WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps(call.texts("tasks"))],
        )
    else:
        rows = tx.execute(
            "SELECT id, status, last_update FROM tasks WHERE status = ? ORDER BY last_update DESC LIMIT ?",
            [RUNNING, limits.PULSES],
        )
    now = datetime.fromisoformat(tx.now).timestamp()
    return {"states": [_shown(call, row, now) for row in rows]}


def _shown(call: Call, row: tuple[str, str, str], now: float) -> dict[str, Any]:
    task, status, last_sign = row
    sign = datetime.fromisoformat(last_sign).timestamp()
    return {
        "task": task,
        "status": status,
        "state": call.services.heartbeats.state(task, status, sign, now),
        "last_sign": last_sign,
        "seconds_since_sign": round(max(0.0, now - sign), 3),
    }
