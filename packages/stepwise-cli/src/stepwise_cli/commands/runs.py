"""`stepwise runs`: list, show, rank and compare the runs in a folder, from their journals alone."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stepwise_cli.console import console, print_json
from stepwise_cli.options import json_option, runs_dir_option
from stepwise_cli.tables import cell, clean, duration, new_table, number, print_if_filled

if TYPE_CHECKING:
    from stepwise_track.reader import Point, RunJournal
    from stepwise_track.summary import RunSummary

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 16
STATUS_STYLES = {"completed": "green", "running": "cyan", "stopped": "yellow"}
"""Colours of the states that are no failure; every other one is red."""


@click.group()
def runs() -> None:
    """List, show, rank and compare runs.

    A RUN is a name, the beginning of one, the path of a run folder, or `latest`.
    """


@runs.command("list")
@runs_dir_option
@click.option(
    "--sort",
    type=click.Choice(["started", "name", "duration", "steps", "best"]),
    default="started",
    show_default=True,
    help="Newest, longest and furthest first; `best` is the lowest validation loss.",
)
@click.option("--filter", "words", help="Only runs with this text in name, status, project, data or tags.")
@json_option
def list_command(runs_dir: Path, sort: str, words: str | None, as_json: bool) -> None:
    """List the runs, one a line."""
    from stepwise_track import list_runs

    found = list_runs(runs_dir)
    chosen = sorted((run for run in found if _matches(run, words)), key=_SORT_KEYS[sort])
    if as_json:
        print_json([_as_json(run) for run in chosen])
    elif not found:
        click.echo(f"No runs in {runs_dir} yet. Start one: stepwise train")
    elif not chosen:
        click.echo(
            f"None of the {len(found)} runs in {runs_dir} has {words!r}. See them all: stepwise runs list"
        )
    else:
        table = new_table(None, "run", "status", ">started", ">took", ">steps", ">val.\nloss", "tags")
        for column in table.columns[:-1]:  # names are there to be copied, numbers to be read
            column.no_wrap = True
        for run in chosen:
            age = duration(time.time() - run.started).split()[0]
            cells = [f"{age} ago", duration(run.duration), str(run.steps)]
            best = f"{run.best.value:.4g}" if run.best else ""
            table.add_row(clean(run.name), _status(run), *cells, best, clean(", ".join(run.tags)))
        console().print(table)


_SORT_KEYS: "dict[str, Callable[[RunSummary], Any]]" = {
    "started": lambda run: -run.started,
    "name": lambda run: run.name,
    "duration": lambda run: -run.duration,
    "steps": lambda run: -run.steps,
    "best": lambda run: (run.best is None, run.best.value if run.best else 0),
}


def _matches(run: "RunSummary", words: str | None) -> bool:
    """Tell whether a run has this text anywhere that people would look for it."""
    texts = [run.name, run.status, run.project, run.model_type, run.dataset, *run.tags]
    return words is None or any(words.lower() in text.lower() for text in texts)


@runs.command("show")
@click.argument("run")
@runs_dir_option
@json_option
def show_command(run: str, runs_dir: Path, as_json: bool) -> None:
    """Show one run: parameters, single values, curves, files."""
    from stepwise_track import read_run, resolve_run, summarize
    from stepwise_track.summary import flatten

    path = resolve_run(runs_dir, run)
    journal = read_run(path)
    summary = summarize(path, journal)
    parameters, curves = flatten(journal.parameters()), journal.series()
    files = list(_files(journal, path))
    if as_json:
        curve_facts = {name: _curve_facts(points) for name, points in curves.items()}
        print_json(_as_json(summary) | {"parameters": parameters, "series": curve_facts, "files": files})
        return
    _print_heading(summary)
    _print_pairs("Parameters", ((name, cell(value)) for name, value in parameters.items()))
    _print_pairs("Single values", ((name, number(value)) for name, value in summary.single_values.items()))
    _print_curves(curves)
    _print_files(files)


def _print_heading(run: "RunSummary") -> None:
    """Print what the run is and how it is, with anything that is wrong."""
    table = new_table(None, "", "")
    table.show_header = False
    process = run.process
    where = f", process {process.pid} on {process.host}" if process and run.status == "running" else ""
    table.add_row("run", clean(run.name))
    table.add_row("status", _status(run) + clean(where))
    table.add_row("project", clean(" · ".join(filter(None, [run.project, run.model_type, run.dataset]))))
    table.add_row("started", f"{datetime.fromtimestamp(run.started):%Y-%m-%d %H:%M:%S}")
    table.add_row("took", f"{duration(run.duration)} for {run.steps} steps")
    facts = {"tags": ", ".join(run.tags), "notes": run.notes, "problem": run.problem or ""}
    if run.lost_events:
        facts["lost"] = f"{run.lost_events} events could not be written"
    for name, text in facts.items():
        if text:
            table.add_row(name, clean(text))
    table.add_row("folder", clean(str(run.path)))
    console().print(table)


def _print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    table = new_table(title, "name", "value")
    for name, value in pairs:
        table.add_row(clean(name), value)
    print_if_filled(table)


def _print_curves(curves: "dict[str, list[Point]]") -> None:
    """Print every curve in a line: where it ends, its range, its shape."""
    table = new_table("Curves", "series", ">points", ">at", ">last", ">min", ">max", "shape")
    for name, points in sorted(curves.items()):
        facts = _curve_facts(points)
        numbers = [number(facts["step"]), *(f"{facts[key]:.4g}" for key in ("last", "min", "max"))]
        shape = sparkline([value for _, value, _ in points])
        table.add_row(clean(name), str(facts["points"]), *numbers, shape)
    print_if_filled(table)


def _print_files(files: list[dict[str, Any]]) -> None:
    table = new_table("Files", "kind", "name", ">step", ">size", "path")
    for file in files:
        step = "" if file["step"] is None else str(file["step"])
        size = f"{file['size']:,}" + ("" if file["present"] else " (gone)")
        table.add_row(file["kind"], clean(file["name"]), step, size, clean(file["path"]))
    print_if_filled(table)


def _files(journal: "RunJournal", run_dir: Path) -> Iterable[dict[str, Any]]:
    """Yield what is known of every file of a run; of a path that was logged twice, the later."""
    from stepwise_track.events import Artifact, Checkpoint, Picture

    latest: dict[str, dict[str, Any]] = {}
    for record in journal.current:
        event = record.event
        if isinstance(event, Checkpoint):
            kind, name, files = "checkpoint", "best" if event.is_best else "", event.files
        elif isinstance(event, Artifact):
            kind, name, files = event.role, event.name, event.files
        elif isinstance(event, Picture):
            kind, name, files = event.source, event.name, (event.file,)
        else:
            continue
        for file in files:
            present = (run_dir / file.path).is_file()
            facts = {"kind": kind, "name": name, "step": event.step, "present": present}
            latest[file.path] = facts | asdict(file)
    return latest.values()


def _curve_facts(points: "list[Point]") -> dict[str, Any]:
    """Return count, last place, and last, lowest and highest value of a curve; NaN only if there is no other."""
    values = [value for _, value, _ in points]
    numbers = [value for value in values if not math.isnan(value)] or values
    step, last, _ = points[-1]
    return {"points": len(points), "step": step, "last": last, "min": min(numbers), "max": max(numbers)}


def sparkline(values: list[float]) -> str:
    """Draw a curve in a line of text, at most `SPARK_WIDTH` wide; `·` where there is no finite value."""
    width = min(len(values), SPARK_WIDTH)
    groups = [values[i * len(values) // width : (i + 1) * len(values) // width] for i in range(width)]
    finite = [[value for value in group if math.isfinite(value)] for group in groups]
    means = [math.fsum(value / len(group) for value in group) if group else None for group in finite]
    low = min((mean for mean in means if mean is not None), default=0.0)
    high = max((mean for mean in means if mean is not None), default=0.0)
    half = high / 2 - low / 2 or 1.0  # halves, because the difference of two huge numbers is infinite
    heights = [None if mean is None else (mean / 2 - low / 2) / half for mean in means]
    return "".join("·" if one is None else SPARKS[round(one * (len(SPARKS) - 1))] for one in heights)


@runs.command("best")
@click.option(
    "--metric",
    default="validation/loss",
    show_default=True,
    help="A single value or a curve, such as exact_match; the end of a curve's name will do.",
)
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which end is better; known for usual names.")
@runs_dir_option
@json_option
def best_command(metric: str, mode: Literal["min", "max"] | None, runs_dir: Path, as_json: bool) -> None:
    """Rank the runs by a metric, the best first."""
    from stepwise_track import TrackError, read_run
    from stepwise_track.reader import run_dirs
    from stepwise_track.summary import best_of, direction

    mode = mode or direction(metric)
    if mode is None:
        raise click.UsageError(f"is a low or a high {metric} better? Add --mode min or --mode max")
    journals = {path.name: read_run(path) for path in run_dirs(runs_dir)}
    if not journals:
        raise TrackError(f"there are no runs in {runs_dir}", hint="stepwise train")
    found = {name: best_of(journal, metric, mode) for name, journal in journals.items()}
    ranked = [(name, value) for name, value in found.items() if value]
    ranked.sort(key=lambda item: item[1].value, reverse=mode == "max")
    if not ranked:
        known = {name for one in journals.values() for name in (*one.single_values(), *one.series())}
        hint = f"--metric with one of: {', '.join(sorted(known))}" if known else "stepwise runs list"
        raise TrackError(f"no run in {runs_dir} has a value of {metric!r}", hint=hint)
    if as_json:
        rows = [
            {"run": name, "metric": one.name, "value": one.value, "step": one.step} for name, one in ranked
        ]
        print_json({"mode": mode, "runs": rows})
        return
    table = new_table(None, "", "run", f">{metric}", ">step")
    table.columns[1].no_wrap = True
    for place, (name, value) in enumerate(ranked):
        step = "" if value.step is None else str(value.step)
        table.add_row("★" if place == 0 else "", clean(name), number(value.value), step)
    console().print(table)


@runs.command("compare")
@click.argument("run", nargs=-1, required=True)
@runs_dir_option
@json_option
def compare_command(run: tuple[str, ...], runs_dir: Path, as_json: bool) -> None:
    """Compare runs: the parameters that differ, and the final metrics with the best marked."""
    from stepwise_track import compare, resolve_run

    if len(run) < 2:
        raise click.UsageError("name at least two runs to compare")
    result = compare([resolve_run(runs_dir, name) for name in run])
    if as_json:
        print_json(asdict(result))
        return
    parameters = new_table("Parameters that differ", "parameter", *map(clean, result.runs))
    for name, values in result.parameters.items():
        cells = [cell(values[one]) if one in values else "-" for one in result.runs]
        parameters.add_row(clean(name), *cells)
    metrics = new_table("Final metrics", "metric", *(f">{clean(one)}" for one in result.runs))
    for name, values in result.metrics.items():
        best = result.best.get(name)
        cells = [
            ("★ " if one == best else "") + number(values[one]) if one in values else "-"
            for one in result.runs
        ]
        metrics.add_row(clean(name), *cells)
    if not result.parameters:
        click.echo("All parameters are equal.")
    print_if_filled(parameters)
    print_if_filled(metrics)


def _as_json(run: "RunSummary") -> dict[str, Any]:
    return asdict(run) | {"path": str(run.path)}


def _status(run: "RunSummary") -> str:
    return f"[{STATUS_STYLES.get(run.status, 'red')}]{run.status}[/]"
