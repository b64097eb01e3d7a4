"""Runs from elsewhere as run folders: a ClearML task, a W&B folder, TensorBoard files, an MLflow run.

An importer reads one source and says what it found as events with their original times. What is done with them is
the same for all: they become a journal in a new run folder, which then can be shown, compared and sent to any tracker.
The id of the journal is made from the source, so that the same source is recognised, whatever the run is called.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from stepwise_track import limits
from stepwise_track.errors import TrackError
from stepwise_track.events import Event, FileRef, ProcessId, RunFinished, RunStarted, event_to_fields
from stepwise_track.files import sha256_of
from stepwise_track.journal import FORMAT, VERSION, JournalReader, frame
from stepwise_track.naming import create_run_dir, safe_name
from stepwise_track.reader import run_dirs
from stepwise_track.secrets import redact_event

Timed = tuple[float, Event]
"""An event with the time it was logged (Unix seconds)."""

IMPORTERS = ("clearml", "mlflow", "wandb", "tensorboard")
"""Modules of this package: each has `accepts(source)` and `read(source, folder)`."""

NOBODY = ProcessId("", 0, 0.0)
"""The process of an imported run: none that could be looked for."""


@dataclass(frozen=True)
class FoundRun:
    """What an importer found.

    Attributes:
        key: names the source for ever: the tracker and its id of the run, or the hash of the files.
        name: what the run is called there.
        events: what was logged, in any order, without the first and the last event of a run.
        project: its project.
        tags: its labels.
        notes: its description.
        status: how it ended: `completed`, `failed` or `stopped`.
        begun: when it began (Unix seconds); by default with its first event.
        ended: when it ended; by default with its last event.
        journal_id: the journal that the run was sent from, if it was one of ours.
    """

    key: str
    name: str
    events: list[Timed]
    project: str = "imported"
    tags: tuple[str, ...] = ()
    notes: str = ""
    status: str = "completed"
    begun: float | None = None
    ended: float | None = None
    journal_id: str = ""

    def records(self) -> list[Timed]:
        """Return all events of the run in the order of their times, from its start to its end."""
        events = sorted(self.events, key=lambda one: one[0])
        times = [time for time, _ in events] or [self.begun or 0.0]
        begun = min(times[0], self.begun or times[0])
        ended = max(times[-1], self.ended or times[-1])
        started = RunStarted(
            self.project, self.name, "", "", ProcessId(NOBODY.host, NOBODY.pid, begun), self.tags, self.notes
        )
        return [(begun, started), *events, (ended, RunFinished(self.status))]


def import_run(source: str, runs_dir: Path, name: str | None = None) -> Path:
    """Make a run folder of a run that another tool has kept.

    Args:
        source: `clearml:ID` or the address of a ClearML task; `mlflow:ID`, the folder or the address of an MLflow
            run; an offline folder or `.wandb` file of W&B; a folder with TensorBoard's event files.
        runs_dir: where the run folder is made.
        name: of the run folder; by default what the run is called at its source.

    Returns:
        The run folder. If anything fails, there is none.

    Raises:
        TrackError: if the source is of no known kind or cannot be read, or was imported already.
    """
    read = _importer(source)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=runs_dir) as part:
            folder = Path(part) / "run"
            folder.mkdir()
            found = read(source, folder)
            journal_id = hashlib.sha256(found.key.encode()).hexdigest()[:32]
            _require_new(source, runs_dir, {journal_id, found.journal_id})
            write_journal(folder / "journal", journal_id, found.records())
            run_dir = create_run_dir(runs_dir, name or found.name)
            folder.replace(run_dir)  # at once: nobody sees half a run
    except OSError as error:
        raise TrackError(
            f"{source} cannot be imported into {runs_dir}: {error}",
            hint="check that the one can be read and the other be written, then import it again",
        ) from None
    return run_dir


def _importer(source: str) -> Callable[[str, Path], FoundRun]:
    """Return the function that reads a source.

    Raises:
        TrackError: if nobody knows what it is, or a package for it is not installed.
    """
    kind = next((name for name in IMPORTERS if source.startswith(f"{name}:")), None) or _kind_of(source)
    if kind is None:
        known = (
            "clearml:TASK-ID, mlflow:RUN-ID, a W&B offline folder, a folder with TensorBoard's event files"
        )
        raise TrackError(f"{source} is no run that can be imported", hint=f"one of: {known}")
    try:
        read: Callable[[str, Path], FoundRun] = import_module(f"{__name__}.{kind}").read
    except ImportError as error:
        hint = f"pip install 'stepwise-track[{kind}]'"
        raise TrackError(f"{source} cannot be read: {error}", hint=hint) from None
    return read


def _kind_of(source: str) -> str | None:
    """Tell from its form, or from the files that are there, what a source is; no SDK is loaded for that."""
    if re.search(r"/tasks/[0-9a-f]{32}\b", source) or re.fullmatch(r"[0-9a-f]{32}", source):
        return "clearml"
    if re.search(r"/runs/[0-9a-f]{32}\b", source) and "://" in source:
        return "mlflow"
    path = Path(source)
    if path.suffix == ".wandb" or any(path.glob("*.wandb")):
        return "wandb"
    if (path / "meta.yaml").is_file():
        return "mlflow"
    return "tensorboard" if any(path.rglob("*tfevents*")) else None


def _require_new(source: str, runs_dir: Path, journal_ids: set[str]) -> None:
    """Refuse a source whose journal is in the folder already."""
    for path in run_dirs(runs_dir):
        reader = JournalReader(path / "journal")
        try:
            next(iter(reader), None)
        except TrackError:
            continue
        if reader.journal_id and reader.journal_id in journal_ids:
            raise TrackError(
                f"{source} is here already, as the run {path.name}", hint=f"stepwise runs show {path}"
            )


def write_journal(directory: Path, journal_id: str, records: Iterable[Timed]) -> None:
    """Write a whole journal with the times that its events had, without secrets.

    Args:
        directory: its folder, which is made.
        journal_id: 32 hex digits.
        records: the events, in order.
    """
    directory.mkdir()
    segment, size, seq = 0, limits.SEGMENT_BYTES, 0
    file = None
    try:
        for time, event in records:
            if file is None or size >= limits.SEGMENT_BYTES:
                if file:
                    file.close()
                segment, size = segment + 1, 0
                file = (directory / f"{segment:06}.jsonl").open("wb")
                header = {"format": FORMAT, "version": VERSION, "journal": journal_id, "first_seq": seq + 1}
                size += file.write(frame(header))
            seq += 1
            size += file.write(frame({"seq": seq, "time": time, **event_to_fields(redact_event(event))}))
    finally:
        if file:
            file.close()


def keep_file(folder: Path, place: str, content: bytes | Path) -> FileRef:
    """Put a file into the run folder and return its reference; another content of the same name stays beside it.

    Args:
        folder: the run folder.
        place: path below it; every part is made safe.
        content: what is in it, or the file to copy.
    """
    *parents, name = (safe_name(part) for part in place.split("/") if part)
    target = folder.joinpath(*parents, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{Path(name).stem}-{number}{Path(name).suffix}")
    if isinstance(content, Path):
        shutil.copyfile(content, target)
    else:
        target.write_bytes(content)
    return FileRef(target.relative_to(folder).as_posix(), sha256_of(target), target.stat().st_size)
