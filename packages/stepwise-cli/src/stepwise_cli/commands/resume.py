"""`stepwise resume`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwise_cli.options import find_run, named_trackers, runs_dir_option, track_options

if TYPE_CHECKING:
    from stepwise_core.config import ResolvedConfig
    from stepwise_core.runs import RunFolder
    from stepwise_core.training.session import Session

CHANGEABLE = ("training.", "evaluation.", "logging.")
"""Settings that a resumed run may change: those that its weights and its data do not depend on."""
FIXED = ("training.batch_size=", "training.batch_by=", "training.seed=")
"""Except these: which examples of an epoch have been seen follows from them."""


@click.command()
@click.argument("run", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--checkpoint", default="latest", show_default=True, help="latest, best, step-…")
@runs_dir_option
@track_options
@click.option(
    "--evaluate/--no-evaluate", default=True, help="Score the test split and draw pictures at the end."
)
def resume(
    run: str | None,
    overrides: tuple[str, ...],
    checkpoint: str,
    runs_dir: Path,
    track: str | None,
    no_wandb: bool,
    evaluate: bool,
) -> None:
    """Go on with an interrupted run, exact to the bit.

    RUN is a name, a unique prefix, a path, or `latest` (the default). A run that is finished is not trained
    again; its results are shown. More epochs: --set training.epochs=20.
    """
    from stepwise_core.config import load_config
    from stepwise_core.errors import ConfigError
    from stepwise_core.files import write_atomic
    from stepwise_core.runs import RunFolder

    folder = RunFolder(find_run(runs_dir, run))
    for text in overrides:
        if not text.startswith(CHANGEABLE) or text.startswith(FIXED):
            raise ConfigError(
                f"--set {text}: a resumed run keeps its model, tokenizer, data and batches",
                hint="stepwise train   (a new run)",
            )
    resolved = load_config(folder.config_file, overrides, environ={})
    if not overrides and _show_if_finished(folder, checkpoint):
        return

    from stepwise_cli.training.execute import execute
    from stepwise_core.training.session import resume_session

    def prepare() -> "Session":
        session = resume_session(resolved.config, folder, checkpoint)
        if overrides:  # now, so that the next resume goes on with them too
            write_atomic(folder.config_file, _with_first_origins(folder, resolved).to_json())
        return session

    trackers = named_trackers(track, resolved.config.logging.backends, no_wandb=no_wandb)
    execute(folder, resolved.config, prepare, trackers=trackers, evaluate=evaluate)


def _with_first_origins(folder: "RunFolder", resolved: "ResolvedConfig") -> "ResolvedConfig":
    """Return the configuration with where each value came from when the run began, or a flag of this resume."""
    from stepwise_core.config import ResolvedConfig

    first = json.loads(folder.config_file.read_text(encoding="utf-8")).get("_origin", {})
    changed = {key: origin for key, origin in resolved.origins.items() if origin == "flag"}
    return ResolvedConfig(resolved.config, {**resolved.origins, **first, **changed})


def _show_if_finished(folder: "RunFolder", checkpoint: str) -> bool:
    """Show the results of a run that is done, if it is."""
    from stepwise_core.evaluation import Evaluation
    from stepwise_core.training.checkpoints import read_state

    state = read_state(folder.checkpoints / checkpoint)
    if state is None or not state.finished or not folder.evaluation_file.is_file():
        return False
    from stepwise_cli.console import console
    from stepwise_cli.training.conclude import show_outcome

    console().print(f"run {folder.name} is finished: {state.step:,} steps; nothing to train")
    show_outcome(folder, Evaluation.load(folder.evaluation_file), state.seconds)
    return True
