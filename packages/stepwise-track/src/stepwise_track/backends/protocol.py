"""What a backend is: the one protocol between the relay and every tracker.

A backend sends the events of one run to one tracker. It lives in a worker process of its own, which the relay
starts, watches and, if it hangs, kills; so it may import any SDK, block, or crash. The worker does, in order:

    backend = SomeBackend()
    backend.open(run)                 # connect; find or create the run in the tracker
    backend.deliver(records)          # a batch, in the order of the journal      } again and again; the cursor
    backend.flush()                   # returns when the tracker has the batch    } moves on after the flush
    backend.finish("completed")       # once all is delivered and the run is over
    backend.close()                   # let go of connections and files

What the worker promises: batches come in order and without gaps. After a failure, a kill or a crash the batch
that was under way comes again, with exactly the same records. Whatever the backend put into `run.state` is
saved with the cursor, in one atomic write, so both always fit together.

What a backend owes: a repeat must change nothing. Either the tracker takes ids (use `Delivery.id`), or the
backend notes in `run.state` how far it came (a size, a count, a remote id) and begins from there, or it asks
the tracker (`run.uncertain_until` says up to which record a batch may have arrived already).

To add a backend, subclass `Backend` in your own package and declare it in its `pyproject.toml`:

    [project.entry-points."stepwise_track.backends"]
    mytracker = "my_package.my_module:MyTracker"

`ExperimentLogger(…, backends=["mytracker"])` or `STEPWISE_BACKENDS=mytracker` then finds it. Import the SDK at
the top of the module: an ImportError becomes one line that names the missing package, and the run goes on.
Credentials come from the tracker's own environment variables and files, never from options: these are kept in
the run folder.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stepwise_track.events import Event, FileRef, RunStarted
from stepwise_track.files import sha256_of


class Unreachable(Exception):
    """The tracker does not answer, or says that it cannot now (5xx, 429): try again later, for as long as it takes."""


class Rejected(Exception):
    """The tracker answers and refuses us (credentials, no such project): do not try again until a person asks."""


class Unrepresentable(Exception):
    """The tracker can hold this record in no form: leave it out, count it, deliver the others.

    Raise it from `deliver`; the batch then comes again without that record. Use it for what cannot be helped;
    what is merely degraded (a table as text) is delivered and counted with `RunContext.degrade`.

    Args:
        seq: the record.
        reason: why, in a few words that many records can share: they are counted by it.
    """

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(reason)
        self.seq = seq
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of the journal on its way to a tracker.

    Attributes:
        journal_id: id of the journal: 32 hex digits.
        seq: number of the record, from 1, without gaps.
        time: when it was logged (Unix seconds).
        event: what happened.
        attempt: 0 for what the run logged at first, plus 1 for every `run_resumed` up to and including this
            record. Steps are never shifted: two attempts may log the same step, and both stay.
    """

    journal_id: str
    seq: int
    time: float
    event: Event
    attempt: int = 0

    @property
    def id(self) -> str:
        """Name of the event for ever, also in a copy of the run folder: `<journal id>-<seq>`."""
        return f"{self.journal_id}-{self.seq}"


@dataclass
class RunContext:
    """What a backend knows about its run.

    Attributes:
        run_dir: the run folder, absolute.
        journal_id: id of its journal.
        started: the first event: project, name, tags, notes, …
        options: what the user gave for this backend: `backends={"clearml": {…}}`.
        state: plain JSON values that the backend wants to keep, such as the id of the task in the tracker;
            empty at first. Saved whenever the cursor is: after `open`, before and after every batch, and after
            a failed try, with what the batch under way has put into it until then.
        is_resume: whether something was opened or delivered before, by an earlier worker.
        uncertain_until: what comes up to this record may have arrived already: it is the last of a batch that
            was under way when an earlier worker ended, or that just failed here. 0 if there is none.
        save: saves `state` at once; call it as soon as the tracker has named something (a new task), so that a
            crash does not make a second one.
        progress: tells the relay that the backend still works; call it within long uploads. Without a sign for
            `limits.WORKER_STALL_S` (more where a batch has large files) the worker is killed and begins again.
        degraded: how often this batch was degraded, by `kind: how`; see `degrade`.
    """

    run_dir: Path
    journal_id: str
    started: RunStarted
    options: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    is_resume: bool = False
    uncertain_until: int = 0
    save: Callable[[], None] = lambda: None
    progress: Callable[[], None] = lambda: None
    degraded: dict[str, int] = field(default_factory=dict)

    def degrade(self, kind: str, how: str, count: int = 1) -> None:
        """Count something of a batch that the tracker got in a lesser form, or not at all.

        Args:
            kind: the kind of event, such as `table`.
            how: what became of it, in the same words for all of its kind: `as Markdown text`.
            count: how many values.
        """
        key = f"{kind}: {how}"
        self.degraded[key] = self.degraded.get(key, 0) + count

    def find(self, file: FileRef) -> Path | None:
        """Return where a file of the run is; None if it is gone or no longer what was logged.

        A later checkpoint may have replaced it before its turn came. Say so with `degrade`.
        """
        path = self.run_dir / file.path
        try:
            same = path.stat().st_size == file.size and sha256_of(path) == file.sha256
        except OSError:
            return None
        return path if same else None


class Backend(ABC):
    """Sends one run to one tracker. The module docstring says how and when its methods are called.

    Attributes:
        name: as users write it.
        fidelity: what this tracker cannot hold and what becomes of it, by kind of event (or a word of your own
            for what cuts across kinds); empty where nothing is lost. Shown beside the counts of each run.
    """

    name: ClassVar[str]
    fidelity: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def open(self, run: RunContext) -> None:
        """Connect, and find or create the run in the tracker.

        Called once per worker; again, on a new instance, after it failed. A run that was finished may be opened
        again: a resumed run goes on in the same remote run.

        Raises:
            Unreachable: the tracker does not answer.
            Rejected: it refuses us.
        """

    @abstractmethod
    def deliver(self, records: Sequence[Delivery]) -> None:
        """Send a batch. May only queue it: `flush` follows. A repeat must change nothing.

        NaN and infinities are delivered as such wherever the tracker can hold them, and never as 0.

        Args:
            records: one or more, in order, following on the batch before.

        Raises:
            Unreachable: the same batch comes again later.
            Rejected: the worker ends; the batch stays pending.
            Unrepresentable: the batch comes again at once, without that record.
        """

    @abstractmethod
    def flush(self) -> None:
        """Return when the tracker has everything that was delivered; the cursor moves on then.

        Raises:
            Unreachable: the same batch comes again later.
            Rejected: as in `deliver`.
        """

    @abstractmethod
    def finish(self, status: str) -> None:
        """Mark the run as over in the tracker. May be repeated.

        Args:
            status: `completed`, `failed` or `stopped`; `failed` also for a run whose process died.

        Raises:
            Unreachable: it is tried again later.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, without waiting long. Called once, also after an error."""
