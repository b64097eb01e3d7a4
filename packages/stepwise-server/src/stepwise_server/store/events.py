"""Plots, images and vectors: few rows, each with a document."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from stepwise_server.store.database import Transaction

Document = dict[str, Any]


class NewEvent(NamedTuple):
    """An event on its way in; `document` is what the columns do not hold."""

    type: str
    metric: str
    variant: str
    iteration: int
    key: str
    timestamp: int
    url: str | None
    source_urls: list[str]
    document: Document


COLUMNS = "owner, type, metric, variant, iter, key, timestamp, url, doc"
"""What `from_row` reads, in order."""


def add_events(tx: Transaction, owner: str, events: Sequence[NewEvent]) -> None:
    """Store events of a task or model; one replaces an older one of the same identity, and keeps its place."""
    tx.executemany(
        """INSERT INTO events (owner, type, metric, variant, iter, key, timestamp, url, source_urls, doc)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (owner, type, metric, variant, iter, key) DO UPDATE SET
               timestamp = excluded.timestamp, url = excluded.url,
               source_urls = excluded.source_urls, doc = excluded.doc""",
        (
            (
                owner,
                *event[:7],
                msgspec.json.encode(event.source_urls).decode() if event.source_urls else None,
                msgspec.json.encode(event.document).decode(),
            )
            for event in events
        ),
    )


def from_row(row: Sequence[Any]) -> Document:
    """Return an event as the API shows it, from a row of `COLUMNS`."""
    owner, kind, metric, variant, iteration, key, timestamp, url, document = row
    event: Document = {
        **msgspec.json.decode(document),
        "task": owner,
        "type": kind,
        "metric": metric,
        "variant": variant,
        "iter": iteration,
        "timestamp": timestamp,
    }
    if key:
        event["key"] = key
    if url is not None:
        event["url"] = url
    return event


def variants_of(tx: Transaction, owner: str, kind: str) -> list[tuple[str, str]]:
    """Return the metrics and variants of which a task or model has events of a type, sorted."""
    rows = tx.execute(
        "SELECT DISTINCT metric, variant FROM events WHERE owner = ? AND type = ? ORDER BY metric, variant",
        [owner, kind],
    )
    return [(metric, variant) for metric, variant in rows]
