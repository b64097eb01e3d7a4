"""Runs in one line each, and runs side by side."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stepwise_track.errors import TrackError
from stepwise_track.events import EventsLost, ProcessId, RunFinished, RunResumed, RunStarted, Scalars
from stepwise_track.process import is_alive
from stepwise_track.reader import Point, RunJournal, read_run, run_dirs, started_at
from stepwise_track.values import Number

Mode = Literal["min", "max"]

LOWER_IS_BETTER = {"loss", "perplexity", "error", "ter", "wer", "cer", "seconds", "bytes"}
HIGHER_IS_BETTER = {
    "accuracy", "match", "bleu", "chrf", "f1", "recall", "precision", "score", "auc",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric's best value; `step` is None for a single value."""

    name: str
    value: Number
    step: Number | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line.

    Attributes:
        name: name of the run folder.
        status: `running`, `completed`, `failed`, `stopped`; `died`: its process is gone without a word;
            `unknown`: its process is on another host; `damaged`: the journal cannot be read to its end;
            `empty`: nothing is logged.
        project: project name.
        model_type: kind of model.
        dataset: name of the data.
        tags: labels.
        notes: goal and hypothesis.
        started: Unix seconds.
        duration: seconds worked on, without the pauses between attempts.
        steps: last training step that counts.
        single_values: numbers without an x axis.
        best: lowest `validation/loss`, if there is one.
        lost_events: events that could not be written.
        process: who writes or wrote it last.
        problem: why the journal ends early, or that its last record is unfinished; else None.
        path: the run folder.
    """

    name: str
    path: Path
    status: str
    started: float
    project: str = ""
    model_type: str = ""
    dataset: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    duration: float = 0.0
    steps: int = 0
    single_values: dict[str, Number] = field(default_factory=dict)
    best: MetricValue | None = None
    lost_events: int = 0
    process: ProcessId | None = None
    problem: str | None = None


def summarize(run_dir: Path | str, journal: RunJournal | None = None) -> RunSummary:
    """Sum up a run.

    Args:
        run_dir: the run folder.
        journal: what `read_run` returned for it, if it is read already.
    """
    path = Path(run_dir)
    journal = journal or read_run(path)
    events = [record.event for record in journal.records]
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    attempts = [event for event in events if isinstance(event, (RunStarted, RunResumed))]
    process = attempts[-1].process if attempts else None
    status = _status(journal, process)
    return RunSummary(
        name=path.name,
        path=path,
        status=status,
        started=journal.records[0].time if journal.records else started_at(path),
        project=started.project_name if started else "",
        model_type=started.model_type if started else "",
        dataset=started.dataset if started else "",
        tags=started.tags if started else (),
        notes=started.notes if started else "",
        duration=_duration(journal, running=status == "running"),
        steps=_steps(journal),
        single_values=journal.single_values(),
        best=best_of(journal, "validation/loss", "min"),
        lost_events=sum(event.count for event in events if isinstance(event, EventsLost)),
        process=process,
        problem=journal.damage or (f"left out {journal.torn_tail}" if journal.torn_tail else None),
    )


def _status(journal: RunJournal, process: ProcessId | None) -> str:
    """Tell how a run is from its last start, resume or end, and from its process."""
    lifecycle = (RunStarted, RunResumed, RunFinished)
    last = next((one.event for one in reversed(journal.records) if isinstance(one.event, lifecycle)), None)
    if journal.damage:
        return "damaged"
    if isinstance(last, RunFinished):
        return last.status
    if process is None:
        return "empty"
    return {True: "running", False: "died", None: "unknown"}[is_alive(process)]


def _steps(journal: RunJournal) -> int:
    """Return the last training step; without training curves, the last step of any curve."""
    points = [one.event for one in journal.current if isinstance(one.event, Scalars)]
    training = [event for event in points if any(name.startswith("train/") for name in event.values)]
    return max((event.step or 0 for event in training or points), default=0)


def _duration(journal: RunJournal, *, running: bool) -> float:
    """Add up the attempts, each from its first to its last record; a running one lasts until now."""
    total, begin, last = 0.0, None, 0.0
    for record in journal.records:
        if begin is None or isinstance(record.event, RunResumed):
            total += last - begin if begin is not None else 0.0
            begin = record.time
        last = record.time
    if begin is None:
        return 0.0
    return max(0.0, total + (time.time() if running else last) - begin)  # a clock may have been set back


def list_runs(runs_dir: Path | str) -> list[RunSummary]:
    """Sum up every run in a folder, the newest first; none if the folder does not exist."""
    return sorted(map(summarize, run_dirs(runs_dir)), key=lambda run: run.started, reverse=True)


def direction(metric: str) -> Mode | None:
    """Tell whether a metric is better low or high, from the words in its name; None if they do not say."""
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    if words & LOWER_IS_BETTER:
        return "min"
    return "max" if words & HIGHER_IS_BETTER else None


def best_of(journal: RunJournal, metric: str, mode: Mode) -> MetricValue | None:
    """Return the best value of a metric in a run; NaN never is the best.

    Args:
        journal: the run.
        metric: a single value, a series, or the end of one series' name (`val_loss` finds `epoch/val_loss`).
        mode: `min` or `max`.

    Raises:
        TrackError: if several series end like this.
    """
    single = journal.single_values()
    if metric in single:
        return None if single[metric] != single[metric] else MetricValue(metric, single[metric], None)
    series = journal.series()
    names = [metric] if metric in series else [name for name in series if name.endswith(f"/{metric}")]
    if len(names) > 1:
        raise TrackError(f"{metric!r} may mean {', '.join(names)}", hint=f"--metric {names[0]}")
    points = [point for name in names for point in series[name] if point[1] == point[1]]
    if not points:
        return None
    step, value, _ = (min if mode == "min" else max)(points, key=lambda point: point[1])
    return MetricValue(names[0], value, step)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: their names, as given.
        parameters: those that differ: value by run, by flattened name (`model.d_model`); a run without it is
            absent.
        metrics: final value by run, by metric: single values, and the last point of the main curves.
        best: run with the best value, by metric; only where it is known whether low or high is better.
    """

    runs: tuple[str, ...]
    parameters: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Number]]
    best: dict[str, str]


def compare(run_dirs: Sequence[Path | str]) -> Comparison:
    """Compare runs: the parameters that differ, and the final metrics.

    Raises:
        TrackError: if two runs have the same name, or a journal is damaged.
    """
    paths = [Path(run_dir) for run_dir in run_dirs]
    names = tuple(path.name for path in paths)
    if len(set(names)) < len(names):
        raise TrackError(
            f"cannot compare runs of the same name: {', '.join(names)}", hint="name each run once"
        )
    journals = {path.name: read_run(path) for path in paths}
    for path in paths:
        damage = journals[path.name].damage
        if damage:
            raise TrackError(damage, hint=f"see what is left: stepwise runs show {path}")
    return compare_journals(journals)


def compare_journals(journals: dict[str, RunJournal]) -> Comparison:
    """Compare runs that are read already.

    Args:
        journals: the runs by name.
    """
    names = tuple(journals)
    settings = [flatten(journal.parameters()) for journal in journals.values()]
    finals = [_final_metrics(journal) for journal in journals.values()]
    parameters: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for flat in settings for key in flat):
        values = [flat.get(key, _ABSENT) for flat in settings]
        if any(value != values[0] or type(value) is not type(values[0]) for value in values):
            parameters[key] = {
                name: flat[key] for name, flat in zip(names, settings, strict=True) if key in flat
            }
    metrics = {
        metric: {name: final[metric] for name, final in zip(names, finals, strict=True) if metric in final}
        for metric in dict.fromkeys(metric for final in finals for metric in final)
    }
    best = {metric: winner for metric, values in metrics.items() if (winner := _winner(metric, values))}
    return Comparison(names, parameters, metrics, best)


_ABSENT = object()


def _winner(metric: str, values: dict[str, Number]) -> str | None:
    """Return the run with the best value, if low or high is known to be better and the runs differ."""
    mode = direction(metric)
    comparable = {name: value for name, value in values.items() if value == value}
    if mode is None or len(set(comparable.values())) < 2:
        return None
    return (min if mode == "min" else max)(comparable, key=lambda name: comparable[name])


def _final_metrics(journal: RunJournal) -> dict[str, Number]:
    """Return the last points of the main curves (no rates, no norms per block), then the single values."""
    last: dict[str, list[Point]] = journal.series()
    main = {
        name: points[-1][1]
        for name, points in last.items()
        if points and name.count("/") == 1 and direction(name)
    }
    return main | journal.single_values()


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a tree into one level: `{"model": {"d_model": 64}}` becomes `{"model.d_model": 64}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
