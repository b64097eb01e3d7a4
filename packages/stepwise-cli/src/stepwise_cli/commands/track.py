"""`stepwise track`: how the delivery of runs stands, what is wrong with the trackers, and runs from elsewhere."""

import time
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepwise_cli.console import console, print_json
from stepwise_cli.options import find_run, json_option, runs_dir_option
from stepwise_cli.tables import clean, duration, new_table, print_if_filled

if TYPE_CHECKING:
    from stepwise_track.relay import BackendStatus

HEALTH_STYLES = {"ok": "green", "new": "cyan", "unreachable": "yellow"}
"""Colours of a backend's health; every other one is red."""

Stand = tuple[Path, "BackendStatus", str]
"""A backend of a run: the run folder, how it stands, where the run is seen there."""


@click.group()
def track() -> None:
    """See how runs reach their trackers, and take runs over from other tools."""


@track.command("status")
@click.argument("run", nargs=-1)
@click.option("--fidelity", is_flag=True, help="Add what each tracker cannot hold, and what became of it.")
@runs_dir_option
@json_option
def status_command(run: tuple[str, ...], fidelity: bool, runs_dir: Path, as_json: bool) -> None:
    """Show how far each tracker has come with each run; without RUN, with all runs of the folder."""
    from stepwise_cli.trackers import tracker_links
    from stepwise_track.reader import run_dirs
    from stepwise_track.relay import status

    paths = [find_run(runs_dir, name) for name in run] or run_dirs(runs_dir)
    stands = [(path, one, tracker_links(path).get(one.name, "")) for path in paths for one in status(path)]
    if as_json:
        print_json([_as_json(stand) for stand in stands])
        return
    if not stands:
        where = " ".join(run) or runs_dir
        click.echo(f"No tracker has anything of {where} yet. Send a run: stepwise sync RUN --to BACKEND")
        return
    _print_stands(stands)
    if fidelity:
        for stand in stands:
            _print_fidelity(stand)


def _as_json(stand: Stand) -> dict[str, Any]:
    path, one, link = stand
    return {
        "run": path.name,
        "path": str(path),
        **asdict(one),
        "pending": one.pending,
        "link": link or None,
    }


def _print_stands(stands: list[Stand]) -> None:
    table = new_table(None, "run", "backend", "health", ">delivered", ">pending", ">lag", ">next\nretry")
    for column in table.columns:
        column.no_wrap = True
    for path, one, _ in stands:
        table.add_row(
            clean(path.name),
            clean(one.name),
            f"[{HEALTH_STYLES.get(one.health, 'red')}]{one.health}[/]",
            f"{one.delivered}/{one.last_seq}",
            str(one.pending),
            f"{one.lag_s:.1f}s" if one.lag_s < 60 else duration(one.lag_s),
            _next_retry(one),
        )
    console().print(table)
    notes = [(f"{path.name} → {one.name}: ", one.error or link) for path, one, link in stands]
    if any(note for _, note in notes):
        click.echo()
    for begin, note in notes:  # on lines of their own: to be copied whole
        if note:
            console().print(clean(begin + note), soft_wrap=True)


def _next_retry(one: "BackendStatus") -> str:
    """Return when the next try is due: in how long, or at which time if that has passed without one."""
    if one.next_retry is None:
        return ""
    wait = one.next_retry - time.time()
    return f"in {duration(wait)}" if wait > 0 else f"{datetime.fromtimestamp(one.next_retry):%m-%d %H:%M}"


def _print_fidelity(stand: Stand) -> None:
    """Print what a tracker cannot hold in general, and what it had to degrade of this run."""
    path, one, _ = stand
    table = new_table(clean(f"{path.name} → {one.name}"), "kind", ">degraded", "what becomes of it")
    counted: Counter[str] = Counter()
    for key, count in one.degraded.items():
        kind, _, how = key.partition(": ")
        counted[kind] += count
        table.add_row(clean(kind), f"{count:,}", clean(how))
    for kind, how in one.fidelity.items():
        if kind not in counted:
            table.add_row(clean(kind), "-", clean(how))
    print_if_filled(table)
    if not table.row_count:
        click.echo(f"\n{path.name} → {one.name}: nothing is degraded.")


@track.command("doctor")
@runs_dir_option
@json_option
def doctor_command(runs_dir: Path, as_json: bool) -> None:
    """Check every tracker, the server of this machine and the latest run; exit code 1 if something is wrong.

    `✓` is fine, `✗` is wrong, `·` is not in use.
    """
    from stepwise_cli.doctor import examine

    findings = list(examine(runs_dir))
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        for one in findings:
            mark = {"fine": "✓", "wrong": "✗", "unused": "·"}[one.state]
            step = f"; next: {one.next_step}" if one.next_step else ""
            click.echo(f"{mark} {one.subject:<12} {one.message}{step}")
    if any(one.state == "wrong" for one in findings):
        raise click.exceptions.Exit(1)


@track.command("import")
@click.argument("source")
@click.option("--name", help="Name of the run folder; by default that of the run at its source.")
@runs_dir_option
def import_command(source: str, name: str | None, runs_dir: Path) -> None:
    """Make a run folder of a run that another tool has kept; then any tracker can have it.

    SOURCE is a ClearML task (id or address), an MLflow run (mlflow:ID, address or folder), an offline folder or
    .wandb file of W&B, or a folder with TensorBoard's event files. The same source is imported only once.
    """
    from stepwise_cli.trackers import clearml_is_configured, use_local_server
    from stepwise_track.importers import import_run
    from stepwise_track.summary import summarize

    if not clearml_is_configured():
        use_local_server()
    run_dir = import_run(source, runs_dir, name)
    summary = summarize(run_dir)
    click.echo(f"{run_dir}: {summary.status}, {summary.steps} steps; next: stepwise runs show {run_dir.name}")
