"""The earlier part of a journal, for a backend whose tracker lacks it."""

from collections.abc import Iterator

from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.events import RunResumed
from stepwise_track.journal import JournalReader

PROGRESS_RECORDS = 500
"""Records after which a sign of life is given."""


def earlier_records(run: RunContext, until: int) -> Iterator[Delivery]:
    """Yield the records of a run up to and including number `until`, as they were delivered.

    Raises:
        TrackError: if the journal is damaged.
    """
    attempt = 0
    if until < 1:
        return
    for record in JournalReader(run.run_dir / "journal"):
        if record.seq > until:
            return
        if record.seq % PROGRESS_RECORDS == 0:
            run.progress()
        attempt += isinstance(record.event, RunResumed)
        yield Delivery(run.journal_id, record.seq, record.time, record.event, attempt)
