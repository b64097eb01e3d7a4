"""`stepwise report`: runs as one HTML page that opens anywhere, without a network."""

from pathlib import Path

import click

from stepwise_cli.options import find_run, runs_dir_option


@click.command()
@click.argument("run", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"),
    show_default=True, help="The file to write.",
)  # fmt: skip
@runs_dir_option
def report(run: tuple[str, ...], output: Path, runs_dir: Path) -> None:
    """Write one HTML page about runs: curves, tables, pictures, parameters that differ, trackers.

    Everything is in the one file: it can be mailed, archived, and opened offline.
    """
    from stepwise_cli.report import render

    paths = [find_run(runs_dir, name) for name in run]
    page = render(paths)
    output.parent.mkdir(parents=True, exist_ok=True)
    size = output.write_bytes(page.encode("utf-8", "backslashreplace"))
    click.echo(f"{output} ({size / 1e6:.1f} MB): {', '.join(path.name for path in paths)}")
