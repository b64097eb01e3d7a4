"""`stepwise data push|pull|versions`: data under version numbers, here and on a ClearML server."""

from pathlib import Path
from typing import Any

import click

from stepwise_cli.console import console, print_json
from stepwise_cli.options import chosen_config, config_options, json_option

local_option = click.option("--local", is_flag=True, help="Leave the ClearML server alone, if there is one.")


@click.command("push")
@config_options
@click.option("--number", metavar="N.N.N", help="Number of the new version; by default the next one.")
@local_option
def push_command(
    config: str | None, config_option: str | None, overrides: tuple[str, ...], number: str | None, local: bool
) -> None:
    """Keep the data of a configuration as a version: its files in the local store, and on the ClearML server.

    Data that was pushed before keeps its version: the same content is the same version.
    """
    import re

    from stepwise_cli.remote.connection import server_is_known
    from stepwise_cli.remote.datasets import push_to_server
    from stepwise_core.config import load_config
    from stepwise_core.data.dataset import load_dataset
    from stepwise_core.data.store import NUMBER, default_store
    from stepwise_core.data.versions import push_dataset

    if number is not None and not re.fullmatch(NUMBER, number):
        raise click.UsageError(f"--number {number}: expected three numbers, such as 1.2.0")
    settings = load_config(chosen_config(config, config_option), overrides).config
    version = push_dataset(load_dataset(settings.data), settings.data, number)
    click.echo(
        f"{version.name} {version.number} ({version.hash}): {len(version.files)} files, {version.size:,} bytes"
    )
    click.echo(f"store   {default_store()}")
    if not local and server_is_known():
        new = push_to_server(version, settings.logging.project_name)
        click.echo(f"ClearML {'sent' if new else 'has it already'}")
    click.echo(f"next: stepwise train … --set data.version={version.hash}")


@click.command("pull")
@click.argument("version")
@click.option("--name", help="Name of the dataset, where VERSION is a number that several have.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New folder to write its files to.")
def pull_command(version: str, name: str | None, output: Path | None) -> None:
    """Get a version into the local store, and its files into a folder.

    VERSION is a number, or the hash. Every file is checked against its SHA-256.
    """
    from stepwise_cli.remote.datasets import pull
    from stepwise_core.data.store import DataStore

    found = pull(version, name)
    click.echo(f"{found.name} {found.number} ({found.hash}): {len(found.files)} files, {found.size:,} bytes")
    if output is not None:
        DataStore().checkout(found, output)
        click.echo(f"wrote {output}")
    click.echo(f"next: stepwise train … --set data.version={found.hash}")


@click.command("versions")
@click.option("--name", help="Only those of this dataset.")
@local_option
@json_option
def versions_command(name: str | None, local: bool, as_json: bool) -> None:
    """List the versions in the local store and on the ClearML server."""
    from rich.markup import escape
    from rich.table import Table

    rows = [row for row in _rows(local) if name in (None, row["name"])]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("there are no versions yet; next: stepwise data push")
        return
    table = Table("name", "number", "hash", "created", "where", box=None)
    for row in rows:
        cells = [escape(row[key]) for key in ("name", "number", "hash", "created")]
        table.add_row(*cells, ", ".join(row["where"]))
    console().print(table)


def _rows(local: bool) -> list[dict[str, Any]]:
    """Return every version once, with where it is."""
    from stepwise_cli.remote.connection import server_is_known
    from stepwise_cli.remote.datasets import server_versions
    from stepwise_core.data.store import DataStore

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    remote = server_versions() if not local and server_is_known() else []
    for where, versions in (("here", DataStore().versions()), ("ClearML", remote)):
        for each in versions:
            facts = {
                "name": each.name,
                "number": each.number,
                "hash": each.hash,
                "created": each.created[:19],
            }
            rows.setdefault((each.name, each.hash), {**facts, "where": []})["where"].append(where)
    return [*rows.values()]
