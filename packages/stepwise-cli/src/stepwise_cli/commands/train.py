"""`stepwise train`."""

import json
from pathlib import Path

import click

from stepwise_cli.options import chosen_config, config_options, named_trackers, runs_dir_option, track_options


@click.command()
@config_options
@runs_dir_option
@click.option("--run-name", help="Name of the run; default: {model_type}_{dataset}_{timestamp}.")
@click.option("--project-name", help="The same as --set logging.project_name=…")
@click.option("--task-name", help="The same as --set logging.experiment_name=…")
@click.option("--device", help="The same as --set training.device=… (auto, cpu, cuda, …)")
@track_options
@click.option(
    "--evaluate/--no-evaluate", default=True, help="Score the test split and draw pictures at the end."
)
def train(
    config: str | None,
    config_option: str | None,
    overrides: tuple[str, ...],
    runs_dir: Path,
    run_name: str | None,
    project_name: str | None,
    task_name: str | None,
    device: str | None,
    track: str | None,
    no_wandb: bool,
    evaluate: bool,
) -> None:
    """Train a model; everything lands in one run folder.

    CONFIG is a file (.yaml, .json), a shipped configuration (`stepwise config list`), or a run folder whose
    settings to use again. Without it: `dates`.

    Ctrl-C saves a checkpoint and stops; `stepwise resume` goes on, exact to the bit.

    Where clearml-agent runs it, the settings are those of the task, as they stand on the server.
    """
    from stepwise_cli.remote.agent import edited_settings, run_name_of
    from stepwise_core.config import load_config

    shortcuts = {
        "logging.project_name": project_name,
        "logging.experiment_name": task_name,
        "training.device": device,
    }
    flags = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in shortcuts.items() if value)]
    edited = edited_settings()
    source = chosen_config(config, config_option, default=None if edited else "dates")
    resolved = load_config(source, flags, tasks=edited)

    from stepwise_cli.training.execute import execute
    from stepwise_core.runs import create_run
    from stepwise_core.training.session import start_session

    folder = create_run(runs_dir, run_name or run_name_of(resolved.config), resolved)
    trackers = named_trackers(track, resolved.config.logging.backends, no_wandb=no_wandb)
    execute(
        folder,
        resolved.config,
        lambda: start_session(resolved.config, folder),
        trackers=trackers,
        evaluate=evaluate,
    )
