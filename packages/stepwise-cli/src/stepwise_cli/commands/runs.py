"""`stepwise runs`: list, show, rank and compare the runs in a folder, from their journals alone."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from stepwise_cli.console import console, print_json
from stepwise_cli.options import json_option, runs_dir_option
from stepwise_cli.tables import cell, clean, duration, new_table, number, print_if_filled

if TYPE_CHECKING:
    from stepwise_cli.run_sources import RunSource
    from stepwise_track.reader import Point
    from stepwise_track.summary import RunSummary

Command = TypeVar("Command", bound=Callable[..., Any])

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 16
STATUS_STYLES = {"completed": "green", "running": "cyan", "stopped": "yellow"}
"""Colours of the states that are no failure; every other one is red."""


def server_option(command: Command) -> Command:
    """Add --server: tasks instead of folders."""
    return click.option(
        "--server", "on_server", is_flag=True, help="The tasks of the ClearML server instead of run folders."
    )(command)


def _source(runs_dir: Path, on_server: bool) -> "RunSource":
    from stepwise_cli.run_sources import LocalRuns, ServerRuns

    return ServerRuns() if on_server else LocalRuns(runs_dir)


@click.group()
def runs() -> None:
    """List, show, rank and compare runs.

    A RUN is a name, the beginning of one, the path of a run folder, or `latest`; with --server, the name or the id of
    a task.
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
@server_option
@json_option
def list_command(runs_dir: Path, sort: str, words: str | None, on_server: bool, as_json: bool) -> None:
    """List the runs, one a line."""
    source = _source(runs_dir, on_server)
    found = source.summaries()
    chosen = sorted((run for run in found if _matches(run, words)), key=_SORT_KEYS[sort])
    if as_json:
        print_json([_as_json(run, source) for run in chosen])
    elif not found:
        click.echo(f"No runs in {source.place} yet. Start one: stepwise train")
    elif not chosen:
        click.echo(
            f"None of the {len(found)} runs in {source.place} has {words!r}. See them all: stepwise runs list"
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
@server_option
@json_option
def show_command(run: str, runs_dir: Path, on_server: bool, as_json: bool) -> None:
    """Show one run: parameters, single values, curves, files."""
    from stepwise_track.summary import flatten

    source = _source(runs_dir, on_server)
    summary, journal = source.read(run)
    parameters, curves = flatten(journal.parameters()), journal.series()
    files = source.files(summary, journal)
    if as_json:
        curve_facts = {name: _curve_facts(points) for name, points in curves.items()}
        facts = {"parameters": parameters, "series": curve_facts, "files": files}
        print_json(_as_json(summary, source) | facts)
        return
    _print_heading(summary, source.link(summary))
    _print_pairs("Parameters", ((name, cell(value)) for name, value in parameters.items()))
    _print_pairs("Single values", ((name, number(value)) for name, value in summary.single_values.items()))
    _print_curves(curves)
    _print_files(files)


def _print_heading(run: "RunSummary", link: str) -> None:
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
    table.add_row("seen at" if "://" in link else "folder", clean(link))
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
@server_option
@json_option
def best_command(
    metric: str, mode: Literal["min", "max"] | None, runs_dir: Path, on_server: bool, as_json: bool
) -> None:
    """Rank the runs by a metric, the best first."""
    from stepwise_track import TrackError
    from stepwise_track.summary import direction

    mode = mode or direction(metric)
    if mode is None:
        raise click.UsageError(f"is a low or a high {metric} better? Add --mode min or --mode max")
    source = _source(runs_dir, on_server)
    found = source.best(metric, mode)
    if not found:
        raise TrackError(f"there are no runs in {source.place}", hint="stepwise train")
    ranked = [(name, value) for name, value in found.items() if value]
    ranked.sort(key=lambda item: item[1].value, reverse=mode == "max")
    if not ranked:
        known = source.metrics()
        hint = f"--metric with one of: {', '.join(sorted(known))}" if known else "stepwise runs list"
        raise TrackError(f"no run in {source.place} has a value of {metric!r}", hint=hint)
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
@server_option
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "html"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@json_option
def compare_command(run: tuple[str, ...], runs_dir: Path, on_server: bool, form: str, as_json: bool) -> None:
    """Compare runs: the parameters that differ, and the final metrics with the best marked."""
    from stepwise_cli.comparison import show
    from stepwise_track.errors import TrackError
    from stepwise_track.summary import compare_journals

    if len(run) < 2:
        raise click.UsageError("name at least two runs to compare")
    source = _source(runs_dir, on_server)
    found = [source.read(name) for name in run]
    names = [summary.name for summary, _ in found]
    if len(set(names)) < len(names):
        raise TrackError(
            f"cannot compare runs of the same name: {', '.join(names)}", hint="name each run once"
        )
    for summary, journal in found:
        if journal.damage:
            raise TrackError(journal.damage, hint=f"see what is left: stepwise runs show {summary.path}")
    journals = {summary.name: journal for summary, journal in found}
    show(compare_journals(journals), "json" if as_json else form)


def _as_json(run: "RunSummary", source: "RunSource") -> dict[str, Any]:
    return asdict(run) | {"path": source.link(run)}


def _status(run: "RunSummary") -> str:
    return f"[{STATUS_STYLES.get(run.status, 'red')}]{run.status}[/]"
