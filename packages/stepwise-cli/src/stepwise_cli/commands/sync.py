"""`stepwise sync`: deliver what is pending to the trackers now, and send any run folder to any tracker."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwise_cli.options import find_run, runs_dir_option

if TYPE_CHECKING:
    from stepwise_track.relay import BackendStatus

EXIT_CODES = {"ok": 0, "unreachable": 4, "rejected": 5}
"""Exit code by health of a backend; 1 for any other."""


@click.command()
@click.argument("run", nargs=-1)
@click.option("--to", "backends", multiple=True, metavar="BACKEND", help="Only to this tracker, new or old.")
@click.option("--all", "every_run", is_flag=True, help="Every run of the folder, not only pending ones.")
@runs_dir_option
def sync(run: tuple[str, ...], backends: tuple[str, ...], every_run: bool, runs_dir: Path) -> None:
    """Deliver what is pending of runs; without RUN, of all of them.

    Nothing arrives twice, however often this is done. Exit codes: 0 all is delivered, 4 a tracker does not
    answer, 5 it refuses us, 1 for other reasons, or for several.
    """
    from stepwise_cli.trackers import clearml_is_configured, use_local_server
    from stepwise_track.errors import TrackError

    if every_run and run:
        raise click.UsageError("--all means every run of the folder: name no RUN, or leave out --all")
    if not clearml_is_configured():
        use_local_server()
    wanted = [name.strip() for each in backends for name in each.split(",") if name.strip()]
    paths = [find_run(runs_dir, name) for name in run] or list(_choose(runs_dir, wanted, every_run))
    if not paths:
        click.echo(f"Nothing is pending in {runs_dir}. Send a run anywhere: stepwise sync RUN --to BACKEND")
        return
    codes: set[int] = set()
    for path in paths:
        try:
            codes |= {_report(path, one) for one in _deliver(path, wanted)}
        except TrackError as error:
            if len(paths) == 1:
                raise
            click.echo(f"✗ {path.name}: {error}; next: {error.hint}", err=True)
            codes.add(error.exit_code)
    failures = codes - {0}
    if failures:
        raise click.exceptions.Exit(failures.pop() if len(failures) == 1 else 1)


def _choose(runs_dir: Path, wanted: list[str], every_run: bool) -> Iterable[Path]:
    """Yield the runs of a folder that have something pending for their trackers; or all that can be sent."""
    from stepwise_track.errors import TrackError
    from stepwise_track.reader import run_dirs
    from stepwise_track.relay import status
    from stepwise_track.relay.status import backends_of

    for path in run_dirs(runs_dir):
        if not (path / "journal").is_dir():
            continue
        if every_run:
            if wanted or backends_of(path):
                yield path
            continue
        try:
            is_due = any(_is_due(one) for one in status(path) if one.name in (wanted or [one.name]))
        except (TrackError, ValueError):  # delivering says what is wrong
            is_due = True
        if is_due:
            yield path


def _is_due(one: "BackendStatus") -> bool:
    """Tell whether a backend lacks records, or failed at the last try, which may have been to tell it the end."""
    return one.pending > 0 or one.health not in ("new", "ok")


def _deliver(path: Path, wanted: list[str]) -> "list[BackendStatus]":
    """Deliver one run, below a progress bar that counts records."""
    from stepwise_cli.progress import counting_to
    from stepwise_track.errors import TrackError
    from stepwise_track.relay import status
    from stepwise_track.relay import sync as deliver
    from stepwise_track.relay.tail import last_record_number

    if not last_record_number(path / "journal"):
        raise TrackError(f"{path} holds no record", hint=f"see what is there: stepwise runs show {path}")
    before = {one.name: one.delivered for one in status(path)}
    with counting_to(path.name) as show:

        def progress(now: "list[BackendStatus]") -> None:
            begun = [before.get(one.name, 0) for one in now]
            done = sum(one.delivered for one in now) - sum(begun)
            behind = ", ".join(one.name for one in now if one.pending)
            show(done, sum(one.last_seq for one in now) - sum(begun), behind)

        found = deliver(path, wanted or None, progress)
    if not found:
        click.echo(f"✓ {path.name} → local: the journal has everything")
    return found


def _report(path: Path, one: "BackendStatus") -> int:
    """Print in a line what a backend has now, and return its exit code."""
    from stepwise_cli.trackers import tracker_links

    code = EXIT_CODES.get(one.health, 1)
    delivered = f"{one.delivered:,} of {one.last_seq:,} records"
    degraded = sum(one.degraded.values())
    lesser = f", {degraded:,} degraded" if degraded else ""
    if code:
        hint = f"stepwise track doctor; then stepwise sync {path} --to {one.name}"
        click.echo(
            f"✗ {path.name} → {one.name}: {one.health}, {delivered}{lesser}: {one.error}; next: {hint}"
        )
        return code
    link = tracker_links(path).get(one.name)
    click.echo(f"✓ {path.name} → {one.name}: {delivered}{lesser}" + (f", {link}" if link else ""))
    return 0
