"""`stepwise remote`: run a task again elsewhere, with other settings, through ClearML's queues and agents."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepwise_cli.console import console, error_console, print_json
from stepwise_cli.options import json_option, runs_dir_option

if TYPE_CHECKING:
    from stepwise_track.backends.clearml.connection import Connection

TASK_HELP = "TASK is the id of a task, the name or folder of a run that was sent to ClearML, or `latest`."


@click.group()
def remote() -> None:
    """Run tasks again on other machines: clone, queue, wait, stop."""


@remote.command("clone", epilog=TASK_HELP)
@click.argument("task")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be repeated."
)
@click.option("--name", help="Name of the new task; default: Clone of …")
@click.option("--queue", help="Queue it there at once.")
@runs_dir_option
def clone_command(
    task: str, overrides: tuple[str, ...], name: str | None, queue: str | None, runs_dir: Path
) -> None:
    """Make a task with the settings of TASK, but for --set; print its id.

    It learns from the same data in the same version, unless --set changes the data. The settings are checked
    before anything is sent.
    """
    from stepwise_cli.remote import tasks
    from stepwise_cli.remote.connection import connected

    with connected() as server:
        original = tasks.get_task(server, tasks.task_id_of(task, runs_dir))
        changes = tasks.changed_settings(original, overrides)
        made = tasks.clone(server, original, changes, name)
        click.echo(made)
        _note(tasks.link(server, {**original, "id": made}))
        if queue is None:
            _note(f"next: stepwise remote enqueue {made}")
        else:
            _enqueue(server, made, queue)


@remote.command("enqueue", epilog=TASK_HELP)
@click.argument("task")
@click.option("--queue", help="Which queue; by default the server's default one.")
@runs_dir_option
def enqueue_command(task: str, queue: str | None, runs_dir: Path) -> None:
    """Queue a task for the agents that serve the queue."""
    from stepwise_cli.remote import tasks
    from stepwise_cli.remote.connection import connected

    with connected() as server:
        task_id = tasks.task_id_of(task, runs_dir)
        tasks.get_task(server, task_id)
        _enqueue(server, task_id, queue)


def _enqueue(server: "Connection", task_id: str, queue: str | None) -> None:
    from stepwise_cli.remote import tasks

    name, served = tasks.enqueue(server, task_id, queue)
    _note(f"queued in {name}; next: stepwise remote wait {task_id}")
    if not served:
        _note(
            f"no agent serves that queue now; on the machine that is to work: clearml-agent daemon --queue {name}"
        )


@remote.command("wait", epilog=TASK_HELP)
@click.argument("task")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.")
@runs_dir_option
def wait_command(task: str, timeout: float | None, runs_dir: Path) -> None:
    """Wait until a task is over. Exit code 0 if it completed, 1 if it failed, 130 if it was stopped."""
    from stepwise_cli.remote import tasks
    from stepwise_cli.remote.connection import connected

    with connected() as server, error_console().status("") as display:
        last = ""

        def show(now: dict[str, Any]) -> None:
            nonlocal last
            display.update(f"{now['status']}, step {max(0, now.get('last_iteration') or 0)}")
            if now["status"] != last:
                last = now["status"]
                _note(f"{now['id']}: {last}")

        over = tasks.wait(server, tasks.task_id_of(task, runs_dir), timeout, show)
        code = tasks.ENDED[over["status"]]
        if code:
            for line in tasks.last_error(server, over["id"]):
                _note(f"  {line}")
            _note(f"next: see its console at {tasks.link(server, over)}")
    raise click.exceptions.Exit(code)


@remote.command("stop", epilog=TASK_HELP)
@click.argument("task")
@runs_dir_option
def stop_command(task: str, runs_dir: Path) -> None:
    """Stop a task: one that runs saves a checkpoint first; one that waits in a queue is taken out."""
    from stepwise_cli.remote import tasks
    from stepwise_cli.remote.connection import connected

    with connected() as server:
        now = tasks.get_task(server, tasks.task_id_of(task, runs_dir))
        if now["status"] == "queued":
            server.call("tasks.dequeue", task=now["id"])
            click.echo(f"took {now['id']} out of its queue")
        elif now["status"] == "in_progress":
            tasks.require_agent(now)
            server.call("tasks.stop", task=now["id"])
            click.echo(f"told {now['id']} to stop; next: stepwise remote wait {now['id']}")
        else:
            click.echo(f"{now['id']} does not run: {now['status']}")


@remote.command("list")
@click.option(
    "-n", "--number", type=click.IntRange(1, 500), default=20, show_default=True, help="Tasks to show."
)
@json_option
def list_command(number: int, as_json: bool) -> None:
    """List the newest tasks that `stepwise train` made."""
    from rich.markup import escape
    from rich.table import Table

    from stepwise_cli.remote import tasks
    from stepwise_cli.remote.connection import connected

    with connected() as server:
        found = tasks.list_tasks(server, number)
    if as_json:
        print_json(found)
        return
    table = Table("task", "status", "step", "project", "name", box=None)
    for task in found:
        project = (task.get("project") or {}).get("name") or ""
        step = str(max(0, task.get("last_iteration") or 0))
        table.add_row(task["id"], task["status"], step, escape(project), escape(task["name"]))
    console().print(table)


def _note(text: str) -> None:
    """Say something on standard error: standard output has the id alone, for scripts."""
    click.echo(text, err=True)
