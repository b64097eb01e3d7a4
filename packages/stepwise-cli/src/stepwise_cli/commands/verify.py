"""`stepwise verify`: the two promises of training, proved on one's own configuration and machine."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from stepwise_cli.options import chosen_config, config_options


@click.group()
def verify() -> None:
    """Prove that resuming and looking change nothing: exit code 0 only for zero difference."""


@verify.command()
@config_options
@click.option("--steps", type=click.IntRange(6), default=60, show_default=True, help="Steps to train.")
def resume(config: str | None, config_option: str | None, overrides: tuple[str, ...], steps: int) -> None:
    """Train, kill, resume; compare with the uninterrupted training, bit by bit.

    The process is killed with SIGKILL wherever it happens to be after its first checkpoint, at a third of the
    steps.
    """
    name = chosen_config(config, config_option)
    settings = [
        *overrides,
        *_brief(steps),
        f"training.save_every={steps // 3}",
        "logging.log_training_every=1",
    ]
    with tempfile.TemporaryDirectory(prefix="stepwise-verify-") as folder:
        runs = Path(folder)
        _say("training without interruption")
        _stepwise("train", name, "--run-name", "uninterrupted", runs=runs, settings=settings)
        _say("training again, to be killed")
        _train_and_kill(name, runs, settings)
        _say("resuming")
        _stepwise("resume", "killed", runs=runs)
        _compare(runs, "uninterrupted", "killed")


@verify.command()
@config_options
@click.option("--steps", type=click.IntRange(10), default=60, show_default=True, help="Steps to train.")
def neutrality(config: str | None, config_option: str | None, overrides: tuple[str, ...], steps: int) -> None:
    """Train twice, looking ten times as often the second time; compare both bit by bit.

    Looking means: validating, translating samples, logging, histograms, checkpoints.
    """
    name = chosen_config(config, config_option)
    seldom = [
        *overrides,
        *_brief(steps),
        f"logging.log_validation_every={steps // 2}",
        "logging.log_training_every=1",
    ]
    often = max(1, steps // 20)
    closely = [
        f"logging.log_validation_every={often}",
        f"logging.log_histograms_every={often}",
        f"training.save_every={often}",
        "evaluation.n_samples=4",
    ]
    with tempfile.TemporaryDirectory(prefix="stepwise-verify-") as folder:
        runs = Path(folder)
        _say(f"training, validating every {steps // 2} steps")
        _stepwise("train", name, "--run-name", "seldom", runs=runs, settings=seldom)
        _say(f"training, validating every {often} steps")
        _stepwise("train", name, "--run-name", "often", runs=runs, settings=[*seldom, *closely])
        _compare(runs, "seldom", "often")


def _brief(steps: int) -> list[str]:
    """Settings that end a training after exactly so many steps, however small its data, and keep it quick."""
    return [
        f"training.max_steps={steps}",
        f"training.epochs={steps}",
        "training.early_stopping=null",
        "evaluation.n_samples=0",
    ]


def _say(what: str) -> None:
    from stepwise_cli.console import error_console

    error_console().print(f"{what} …")


def _command(*arguments: str, runs: Path, settings: list[str]) -> list[str]:
    changes = [part for setting in settings for part in ("--set", setting)]
    program = [sys.executable, "-m", "stepwise_cli"]
    return [*program, *arguments, "--runs-dir", str(runs), "--no-evaluate", *changes]


def _stepwise(*arguments: str, runs: Path, settings: list[str] | None = None) -> None:
    """Run a stepwise command in a process of its own; its output is shown only if it fails."""
    done = subprocess.run(
        _command(*arguments, runs=runs, settings=settings or []), capture_output=True, text=True
    )
    if done.returncode != 0:
        click.echo(done.stdout + done.stderr, err=True)
        raise _Failed(f"`stepwise {arguments[0]}` failed with exit code {done.returncode}", done.returncode)


def _train_and_kill(name: str, runs: Path, settings: list[str]) -> None:
    """Start a training and kill it in the middle of some step after its first checkpoint."""
    command = _command("train", name, "--run-name", "killed", runs=runs, settings=settings)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    latest = runs / "killed" / "checkpoints" / "latest"
    while process.poll() is None and not latest.exists():
        time.sleep(0.005)
    process.kill()
    if process.wait() >= 0:
        raise _Failed("the training ended before it could be killed; try more --steps")


def _compare(runs: Path, first: str, second: str) -> None:
    """Print how weights, optimiser state and logged losses differ; fail if they do."""
    from rich.table import Table

    from stepwise_cli.console import console
    from stepwise_core.verification import Difference, compare_checkpoints
    from stepwise_track.reader import read_series

    found = compare_checkpoints(*(runs / run / "checkpoints" / "latest" for run in (first, second)))
    losses = [
        {step: value for step, value, _ in read_series(runs / run)["train/loss"]} for run in (first, second)
    ]
    steps = losses[0].keys() | losses[1].keys()
    gaps = [abs(losses[0].get(step, float("inf")) - losses[1].get(step, float("inf"))) for step in steps]
    found["training losses"] = Difference(len(steps), sum(gap != 0 for gap in gaps), max(gaps))
    table = Table("compared", "values", "different", "largest difference")
    for what, difference in found.items():
        table.add_row(what, f"{difference.values:,}", f"{difference.different:,}", f"{difference.largest:g}")
    console().print(table)
    if not all(difference.is_zero for difference in found.values()):
        raise _Failed(f"{first} and {second} differ")
    console().print("zero difference")


class _Failed(Exception):
    """The proof failed, or could not be made."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
