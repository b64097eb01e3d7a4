"""Reads run folders: what counts of a journal, curves, and which run a name means."""

import copy
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepwise_track.errors import TrackError
from stepwise_track.events import Parameters, RunResumed, RunStarted, Scalars, SingleValues
from stepwise_track.journal import JournalReader, Record, TornTail
from stepwise_track.values import Number

Point = tuple[Number, Number, float]
"""A point of a curve: step (or epoch, or seconds since the start), value, time (Unix seconds)."""


def drop_superseded(records: Iterable[Record]) -> list[Record]:
    """Return the records that count: without those at a step above the one from which a later resume went on.

    A killed process may have logged further than its last checkpoint; the resumed one logs these steps again.
    """
    kept: list[Record] = []
    for record in records:
        if isinstance(record.event, RunResumed):
            limit = record.event.step
            kept = [one for one in kept if _step_of(one) <= limit]
        kept.append(record)
    return kept


def _step_of(record: Record) -> int:
    """Return the training step at which a record was logged; -1 if it does not belong to one."""
    if isinstance(record.event, RunResumed):
        return -1
    step: int | None = getattr(record.event, "step", None)
    return -1 if step is None else step


@dataclass
class RunJournal:
    """What a journal says, in the shape that readers need.

    Attributes:
        records: all records, also the superseded ones: when the run was worked on can be seen only there.
        damage: why the journal could not be read to its end, or None; `records` ends before the damage.
        torn_tail: bytes of an unfinished record at the end, or None.
        current: the records that count.
    """

    records: list[Record]
    damage: str | None = None
    torn_tail: TornTail | None = None
    current: list[Record] = field(init=False)

    def __post_init__(self) -> None:
        self.current = drop_superseded(self.records)

    def series(self) -> dict[str, list[Point]]:
        """Return the points of every curve; where two attempts logged the same place, the later counts."""
        points: dict[str, list[tuple[int, Point]]] = {}
        attempt = 0
        for record in self.current:
            event = record.event
            if isinstance(event, RunResumed):
                attempt += 1
            elif isinstance(event, Scalars):
                place = event.place
                if place is not None:
                    for name, value in event.values.items():
                        points.setdefault(name, []).append((attempt, (place, value, record.time)))
        return {name: _of_latest_attempts(curve) for name, curve in points.items()}

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the run as one tree."""
        tree: dict[str, Any] = {}
        for record in self.current:
            if isinstance(record.event, Parameters):
                _update(tree, record.event.values)
        return tree

    def single_values(self) -> dict[str, Number]:
        """Return the last single value of every name; without what the logger says of itself."""
        return {
            name: value for name, value in self._last_values().items() if not name.startswith("stepwise/")
        }

    def logger_values(self) -> dict[str, Number]:
        """Return what the logger says of itself, such as `stepwise/log_seconds`: no results of the run."""
        return {name: value for name, value in self._last_values().items() if name.startswith("stepwise/")}

    def _last_values(self) -> dict[str, Number]:
        values: dict[str, Number] = {}
        for record in self.current:
            if isinstance(record.event, SingleValues):
                values |= record.event.values
        return values


def _of_latest_attempts(curve: list[tuple[int, Point]]) -> list[Point]:
    """Keep, for every place on the x axis, the points of the last attempt that logged there."""
    latest = {point[0]: attempt for attempt, point in curve}
    return [point for attempt, point in curve if latest[point[0]] == attempt]


def _update(tree: dict[str, Any], other: dict[str, Any]) -> None:
    """Add a tree of parameters to another, in place; the leaves of the added one win."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _update(tree[key], value)
        else:
            tree[key] = copy.deepcopy(value)


def read_run(run_dir: Path | str) -> RunJournal:
    """Read the journal of a run folder as far as it can be read; `damage` says why it ends early."""
    reader = JournalReader(Path(run_dir) / "journal")
    records: list[Record] = []
    damage = None
    try:
        for record in reader:
            records.append(record)
    except (TrackError, OSError) as error:
        damage = str(error)
    return RunJournal(records, damage, reader.torn_tail)


def read_series(run_dir: Path | str) -> dict[str, list[Point]]:
    """Return the curves of a run: `{"train/loss": [(step, value, time), …]}`, without superseded points.

    Raises:
        TrackError: if the journal is damaged.
    """
    records = list(JournalReader(Path(run_dir) / "journal"))
    return RunJournal(records).series()


def run_dirs(runs_dir: Path | str) -> list[Path]:
    """Return the run folders in `runs_dir`, sorted by name; none if it does not exist."""
    runs_dir = Path(runs_dir)
    return sorted(path for path in runs_dir.iterdir() if is_run_dir(path)) if runs_dir.is_dir() else []


def is_run_dir(path: Path) -> bool:
    """Tell whether a folder holds a run."""
    return (path / "journal").is_dir() or (path / "config.json").is_file()


def resolve_run(runs_dir: Path | str, name: str) -> Path:
    """Find the run that a user means.

    Args:
        runs_dir: where the runs are.
        name: `latest`, the name of a run, the path of a run folder, or the beginning of one run's name.

    Returns:
        The run folder.

    Raises:
        TrackError: if there is no such run, or more than one; the hint names the nearest.
    """
    found = run_dirs(runs_dir)
    names = [path.name for path in found]
    if name == "latest" and found:
        return max(found, key=started_at)
    if name in names:
        return Path(runs_dir) / name
    if name and is_run_dir(Path(name)):
        return Path(name)
    begin_alike = [one for one in names if name and one.startswith(name)]
    if len(begin_alike) == 1:
        return Path(runs_dir) / begin_alike[0]
    if begin_alike:
        raise TrackError(
            f"{name!r} is the beginning of {len(begin_alike)} runs in {runs_dir}",
            hint=f"say which: {_some(begin_alike)}",
        )
    if not found:
        raise TrackError(f"there are no runs in {runs_dir}", hint="stepwise train")
    alike = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or sorted(names, reverse=True)
    raise TrackError(f"there is no run {name!r} in {runs_dir}", hint=f"one of: {_some(alike)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def started_at(run_dir: Path) -> float:
    """Return when a run started (Unix seconds), from its first record, else from the age of its folder."""
    try:
        first = next(iter(JournalReader(run_dir / "journal")), None)
    except (TrackError, OSError):
        first = None
    if first and isinstance(first.event, RunStarted):
        return first.time
    return run_dir.stat().st_mtime
