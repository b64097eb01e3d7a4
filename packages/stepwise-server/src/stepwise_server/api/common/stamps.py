"""Who changed an entity last, and when."""

from datetime import datetime

from stepwise_server.api.call import Call
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document


def stamps(tx: Transaction, call: Call, entity: Document, *, content: bool = True) -> Document:
    """Return the fields that record a change.

    Args:
        tx: the transaction, for its time.
        call: for its user.
        entity: the task or model as it was.
        content: whether it was more than a label: only then is it newer than others (`last_update`).
    """
    fields: Document = {"last_change": tx.now, "last_changed_by": call.user}
    if content:
        fields["last_update"] = tx.now
        if entity.get("status") == "in_progress" and entity.get("started"):
            fields["active_duration"] = seconds_between(entity["started"], tx.now)
    return fields


def seconds_between(start: str, end: str) -> int:
    """Return whole seconds from one stored time to another, never negative."""
    return max(0, int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))
