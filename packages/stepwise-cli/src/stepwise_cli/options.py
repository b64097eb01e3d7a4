"""Options and arguments that several commands share, so that they have one name and one meaning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def runs_dir_option(command: Command) -> Command:
    """Add --runs-dir: the folder of all runs."""
    return click.option(
        "--runs-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        envvar="STEPWISE_RUNS_DIR",
        show_default=True,
        show_envvar=True,
        help="Folder of all runs.",
    )(command)


def track_options(command: Command) -> Command:
    """Add --track and --no-wandb: where the run is sent besides its folder."""
    command = click.option(
        "--no-wandb", is_flag=True, help="Leave out Weights & Biases, whatever else names it."
    )(command)
    return click.option(
        "--track",
        metavar="NAMES",
        help="Trackers, separated by commas: clearml, wandb, mlflow, tensorboard, or none. Default: those of"
        " STEPWISE_BACKENDS, else ClearML if a server runs here or is configured.",
    )(command)


def named_trackers(track: str | None, configured: list[str] | None, *, no_wandb: bool) -> list[str]:
    """Return the trackers that --track, the configuration or the environment name, without what --no-wandb forbids.

    What an agent runs goes to ClearML too, unless --track says otherwise: it has a task there.
    """
    from stepwise_cli.remote.agent import agents_task
    from stepwise_cli.trackers import chosen_trackers

    if track is None and agents_task():
        configured = [*dict.fromkeys(["clearml", *(configured or [])])]
    names = chosen_trackers(configured if track is None else track.split(","))
    return [name for name in names if not (no_wandb and name == "wandb")]


def json_option(command: Command) -> Command:
    """Add --json: the same for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON; NaN and infinities become text."
    )(command)


def config_options(command: Command) -> Command:
    """Add the CONFIG argument, its old form --config, and --set."""
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change any setting; may be repeated."
    )(command)
    command = click.option("-c", "--config", "config_option", metavar="CONFIG", help="The same as CONFIG.")(
        command
    )
    return click.argument("config", required=False)(command)


@overload
def chosen_config(argument: str | None, option: str | None, default: str = "dates") -> str: ...


@overload
def chosen_config(argument: str | None, option: str | None, default: str | None) -> str | None: ...


def chosen_config(argument: str | None, option: str | None, default: str | None = "dates") -> str | None:
    """Return the configuration that was named, by argument or by --config.

    Raises:
        click.UsageError: if both name one.
    """
    if argument and option:
        raise click.UsageError(f"two configurations: {argument} and --config {option}")
    return argument or option or default


def find_run(runs_dir: Path, run: str | None) -> Path:
    """Return the folder of the run that a name, a unique prefix, a path or `latest` (None) means.

    Raises:
        TrackError: if there is none.
    """
    from stepwise_track.reader import resolve_run

    return resolve_run(runs_dir, run or "latest")
