"""`stepwise resume`."""

from pathlib import Path

import click

from stepwise_cli.options import find_run, runs_dir_option

CHANGEABLE = ("training.", "evaluation.", "logging.")
"""Settings that a resumed run may change: those that its weights and its data do not depend on."""


@click.command()
@click.argument("run", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@runs_dir_option
@click.option(
    "--evaluate/--no-evaluate", default=True, help="Score the test split and draw pictures at the end."
)
def resume(run: str | None, overrides: tuple[str, ...], runs_dir: Path, evaluate: bool) -> None:
    """Go on with an interrupted run, exact to the bit.

    RUN is a name, a unique prefix, a path, or `latest` (the default). A run that is finished is not trained
    again; its results are shown. More epochs: --set training.epochs=20.
    """
    from stepwise_core.config import ResolvedConfig, load_config
    from stepwise_core.errors import ConfigError
    from stepwise_core.files import write_atomic
    from stepwise_core.runs import RunFolder

    folder = RunFolder(find_run(runs_dir, run))
    for text in overrides:
        if not text.startswith(CHANGEABLE):
            raise ConfigError(
                f"--set {text}: a resumed run keeps its model, data and tokenizer",
                hint="stepwise train   (a new run)",
            )
    resolved: ResolvedConfig = load_config(folder.config_file, overrides, environ={})
    if not overrides and _show_if_finished(folder):
        return

    from stepwise_cli.training.execute import execute
    from stepwise_core.training.session import resume_session

    execute(folder, resolved.config, lambda: resume_session(resolved.config, folder), evaluate=evaluate)
    if overrides:
        write_atomic(folder.config_file, resolved.to_json())


def _show_if_finished(folder: "RunFolder") -> bool:  # type: ignore[name-defined]  # noqa: F821
    """Show the results of a run that is done, if it is."""
    from stepwise_core.evaluation import Evaluation
    from stepwise_core.training.checkpoints import read_state

    state = read_state(folder.checkpoints / "latest")
    if state is None or not state.finished or not folder.evaluation_file.is_file():
        return False
    from stepwise_cli.console import console
    from stepwise_cli.training.conclude import show_outcome

    console().print(f"run {folder.name} is finished: {state.step:,} steps; nothing to train")
    show_outcome(folder, Evaluation.load(folder.evaluation_file), state.seconds)
    return True
