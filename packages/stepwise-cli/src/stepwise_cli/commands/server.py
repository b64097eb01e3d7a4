"""`stepwise server`: start and stop the ClearML server in one process, and look after its data."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stepwise_cli.console import print_json
from stepwise_cli.options import json_option

if TYPE_CHECKING:
    from stepwise_server.auth.identity import Role
    from stepwise_server.ops.folder import Running

Command = TypeVar("Command", bound=Callable[..., Any])


def _default_folder() -> Path:
    from stepwise_server.ops.folder import default_folder

    return default_folder()


def folder_option(command: Command) -> Command:
    """Add --folder: the data folder of the server."""
    return click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=_default_folder,
        envvar="STEPWISE_SERVER_DIR",
        show_default="~/.local/share/stepwise/server",
        show_envvar=True,
        help="Data folder of the server.",
    )(command)


@click.group()
def server() -> None:
    """Run a ClearML server on this machine: one process, one folder."""


@server.command("start")
@folder_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen at, 0 for a free one.  [default: 8008]"
)
@click.option("--url", help="How clients reach it, if that is another address, such as a proxy's.")
@click.option(
    "--detach", is_flag=True, help="Return once it answers; it goes on until `stepwise server stop`."
)
@click.option("--ephemeral", is_flag=True, help="Keep everything in a temporary folder, removed at the end.")
@click.option("--open-reads", is_flag=True, help="Let anybody read files who can reach the server.")
@click.option("--log-requests", is_flag=True, help="Log every request, not only those that failed.")
@click.option("--log-json", is_flag=True, help="Log JSON, one object a line.")
@json_option
def start_command(
    folder: Path,
    host: str,
    port: int | None,
    url: str | None,
    detach: bool,
    ephemeral: bool,
    open_reads: bool,
    log_requests: bool,
    log_json: bool,
    as_json: bool,
) -> None:
    """Start the server. What clients need is written into the data folder: clearml.conf and client.env."""
    from stepwise_server.ops import launch as ops

    if port is None:
        port = 0 if ephemeral else 8008
    launch = ops.Launch(folder, host, port, url, open_reads, log_requests, log_json)
    for line in ops.warnings(launch):
        click.secho(f"warning: {line}", fg="yellow", err=True)
    if ephemeral:
        launch = ops.ephemeral(launch)
    if detach:
        _tell(ops.detach(launch), as_json)
        return
    ops.run(launch, lambda running: _tell(running, as_json))


def _tell(running: "Running", as_json: bool) -> None:
    """Print how the server is reached; nothing of it is secret."""
    from stepwise_server.ops.clients import instructions

    if as_json:
        print_json(asdict(running))
    else:
        for line in instructions(Path(running.folder), running.url):
            click.echo(line)
    sys.stdout.flush()


@server.command("stop")
@folder_option
def stop_command(folder: Path) -> None:
    """Stop the server, once the requests that it is answering are done."""
    from stepwise_server.ops.control import stop

    running = stop(folder)
    click.echo(f"stopped the server with pid {running.pid} at {running.url}")


@server.command("status")
@folder_option
@json_option
def status_command(folder: Path, as_json: bool) -> None:
    """Tell whether the server runs and answers; exit code 4 if not."""
    from stepwise_server.ops.control import status

    state = status(folder)
    if as_json:
        print_json(asdict(state))
    else:
        facts = {"folder": state.folder, "database": f"{state.database_bytes:,} bytes", "log": state.log}
        if state.server:
            process = {
                "pid": state.server.pid,
                "version": state.server.version,
                "since": state.server.started,
            }
            facts = {"url": state.server.url, **{key: str(value) for key, value in process.items()}, **facts}
        word = "running" if state.healthy else "not answering" if state.server else "not running"
        for name, value in {"server": word, **facts}.items():
            if value:
                click.echo(f"{name:<9} {value}")
    if not state.healthy:
        raise click.exceptions.Exit(4)


@server.group()
def credentials() -> None:
    """Access keys for programs: list, create, revoke, rotate. A running server follows within a second."""


@credentials.command("list")
@folder_option
@json_option
def credentials_list_command(folder: Path, as_json: bool) -> None:
    """List the access keys. Secrets are not kept, so they cannot be shown."""
    from stepwise_server.ops.access import list_keys

    _print_rows([asdict(key) for key in list_keys(folder)], as_json)


@credentials.command("create")
@folder_option
@click.option("--user", help="User name, name or id; by default the first user.")
@click.option("--label", help="What the key is for.")
@json_option
def credentials_create_command(folder: Path, user: str | None, label: str | None, as_json: bool) -> None:
    """Create an access key. Its secret is shown this once."""
    from stepwise_server.ops.access import create_key

    _print_pair(create_key(folder, user, label), as_json)


@credentials.command("revoke")
@click.argument("access_key")
@folder_option
def credentials_revoke_command(access_key: str, folder: Path) -> None:
    """Take back an access key, and all logins that were made with it."""
    from stepwise_server.ops.access import revoke_key

    revoke_key(folder, access_key)
    click.echo(f"revoked {access_key}")


@credentials.command("rotate")
@click.argument("access_key", required=False)
@folder_option
@json_option
def credentials_rotate_command(access_key: str | None, folder: Path, as_json: bool) -> None:
    """Replace an access key by a new one; by default the one in clearml.conf and client.env, there too."""
    from stepwise_server.ops.access import rotate_key

    _print_pair(rotate_key(folder, access_key), as_json)


def _print_pair(pair: tuple[str, str], as_json: bool) -> None:
    access_key, secret_key = pair
    if as_json:
        print_json({"access_key": access_key, "secret_key": secret_key})
    else:
        click.echo(f"CLEARML_API_ACCESS_KEY={access_key}\nCLEARML_API_SECRET_KEY={secret_key}")


@server.group()
def users() -> None:
    """People who log in with a password: list, add, change, remove. A running server follows within a second."""


@users.command("list")
@folder_option
@json_option
def users_list_command(folder: Path, as_json: bool) -> None:
    """List the users."""
    from stepwise_server.ops.access import list_users

    _print_rows([asdict(user) for user in list_users(folder)], as_json)


@users.command("add")
@click.argument("username")
@folder_option
@click.option("--name", help="Name to be shown; by default the user name.")
@click.option(
    "--role",
    type=click.Choice(["guest", "user", "admin"]),
    default="user",
    show_default=True,
    help="A guest only reads; an admin also manages other users.",
)
@click.option("--generate", is_flag=True, help="Generate the password and print it, instead of asking.")
def users_add_command(username: str, folder: Path, name: str | None, role: "Role", generate: bool) -> None:
    """Add a user who logs in with a password."""
    from stepwise_server.auth.secrets import new_password
    from stepwise_server.ops.access import add_user

    password = new_password() if generate else _ask_password()
    add_user(folder, username, password, role, name)
    click.echo(f"added {username}, who is {role}" + (f"; password: {password}" if generate else ""))


@users.command("password")
@click.argument("user")
@folder_option
@click.option("--generate", is_flag=True, help="Generate the password and print it, instead of asking.")
def users_password_command(user: str, folder: Path, generate: bool) -> None:
    """Give a USER (user name, name or id) another password; who is logged in has to log in again."""
    from stepwise_server.auth.secrets import new_password
    from stepwise_server.ops.access import set_password

    password = new_password() if generate else _ask_password()
    set_password(folder, user, password)
    click.echo(f"changed the password of {user}" + (f" to {password}" if generate else ""))


def _ask_password() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


@users.command("remove")
@click.argument("user")
@folder_option
def users_remove_command(user: str, folder: Path) -> None:
    """Remove a USER (user name, name or id) with keys and logins; what the user made stays."""
    from stepwise_server.ops.access import remove_user

    remove_user(folder, user)
    click.echo(f"removed {user}")


@server.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@folder_option
@json_option
def backup_command(file: Path, folder: Path, as_json: bool) -> None:
    """Save everything in one FILE, as it is at one moment, while training goes on. It holds the secrets, too."""
    from stepwise_server.ops.backup import backup

    done = backup(folder, file)
    if as_json:
        print_json(asdict(done) | {"archive": str(done.archive)})
        return
    click.echo(f"saved {folder} with {done.files} files in {done.archive} ({done.bytes:,} bytes)")
    for name in done.damaged:
        click.secho(f"warning: the file {name} is missing or not what was uploaded", fg="yellow", err=True)


@server.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@folder_option
@json_option
def restore_command(file: Path, folder: Path, as_json: bool) -> None:
    """Put a backup in place of the data folder. It is checked first; what was there is kept beside it."""
    from stepwise_server.ops.restore import restore

    done = restore(file, folder)
    if as_json:
        paths = {"folder": str(done.folder), "before": str(done.before) if done.before else None}
        print_json(asdict(done) | paths)
        return
    click.echo(f"restored {done.folder} with {done.files} files, as it was at {done.created}")
    if done.before:
        click.echo(f"what was there before is in {done.before}")


@server.command("compact")
@folder_option
@json_option
def compact_command(folder: Path, as_json: bool) -> None:
    """Give back space of what was deleted. The server must not be running."""
    from stepwise_server.ops.compact import compact

    done = compact(folder)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(f"database: {done.database_before:,} bytes before, {done.database_after:,} now")
    click.echo(f"files that nothing knew: {done.orphans} ({done.orphan_bytes:,} bytes) removed")


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON, or in columns as wide as they need to be."""
    if as_json:
        print_json(rows)
        return
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    if not texts:
        return
    widths = {name: max(len(name), *(len(row[name]) for row in texts)) for name in texts[0]}
    click.echo("  ".join(f"{name:<{width}}" for name, width in widths.items()).rstrip())
    for row in texts:
        line = "  ".join(f"{row[name]:<{width}}" for name, width in widths.items()).rstrip()
        click.echo("".join(sign if sign.isprintable() else "?" for sign in line))


@server.command("export")
@folder_option
@click.option(
    "--to", "target", required=True, metavar="API_URL", help="API of the server that gets the tasks."
)
@click.option("--files", help="File server of the target.  [default: guessed from API_URL]")
@click.option("--access-key", envvar="STEPWISE_EXPORT_ACCESS_KEY", prompt=True, show_envvar=True)
@click.option(
    "--secret-key", envvar="STEPWISE_EXPORT_SECRET_KEY", prompt=True, hide_input=True, show_envvar=True
)
@click.option("--project", default="", help="Only tasks of this project and those below it.")
@click.option("--task", "tasks", multiple=True, metavar="ID", help="Only this task; may be repeated.")
@json_option
def export_command(
    folder: Path,
    target: str,
    files: str | None,
    access_key: str,
    secret_key: str,
    project: str,
    tasks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Copy tasks to another ClearML server, with curves, console, plots, models and artifacts.

    Each task is moved once, however often this runs; one that has changed since is brought up to date. The
    server of this machine must be running.
    """
    from stepwise_cli.progress import counting_to
    from stepwise_server.export import Remote, export_tasks
    from stepwise_server.export.client import guess_files
    from stepwise_server.installation import read_client
    from stepwise_server.ops.folder import require_running

    running = require_running(folder)
    client = read_client(folder)
    source = Remote(f"{running.url}/api", f"{running.url}/files", client.access_key, client.secret_key)
    other = Remote(target, files or guess_files(target), access_key, secret_key)
    with counting_to("exporting tasks") as show:
        report = export_tasks(source, other, folder / "exports", tasks=tasks, project=project, progress=show)
    if as_json:
        print_json(asdict(report))
        return
    click.echo(
        f"moved {len(report.moved)} tasks with {report.events} events; {len(report.unchanged)} had not changed"
    )
    for task in report.deleted:
        click.echo(f"left alone: {task} was moved before and deleted there")
    for url in report.missing_files:
        click.echo(f"missing: {url}")
