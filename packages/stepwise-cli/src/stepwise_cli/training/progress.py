"""The live display of a training: one bar, and one line per validation."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stepwise_cli.console import console, error_console
from stepwise_core.training.reports import CheckpointReport, RunPlan, StepReport, ValidationReport


class ProgressDisplay:
    """A listener that shows on the terminal how training goes; where there is none, only validations are printed."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.completed}/{task.total} steps · epoch {task.fields[epoch]} · loss {task.fields[loss]}"
            ),
            TextColumn("· {task.fields[speed]} tokens/s ·"),
            TimeElapsedColumn(),
            TextColumn("<"),
            TimeRemainingColumn(),
            console=error_console(),
            transient=True,
            disable=not error_console().is_terminal,
        )
        self._task: TaskID | None = None
        self._speed: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_start(self, plan: RunPlan) -> None:
        """Say what is trained, and draw the bar."""
        start = f"from step {plan.first_step}" if plan.first_step else "from the start"
        console().print(
            f"[bold]{plan.run}[/bold]: {plan.parameters:,} parameters, {plan.total_steps:,} steps {start}, "
            f"padding {plan.padding_ratio:.1%}, on {plan.device}"
        )
        self._task = self._progress.add_task(
            "training", total=plan.total_steps, completed=plan.first_step, epoch="-", loss="-", speed="-"
        )

    def on_step(self, report: StepReport) -> None:
        """Move the bar."""
        speed = report.tokens_per_second
        self._speed = speed if self._speed is None else 0.98 * self._speed + 0.02 * speed
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=report.step,
            epoch=report.epoch,
            loss=f"{report.loss:.4f}",
            speed=f"{self._speed:,.0f}",
        )

    def on_validation(self, report: ValidationReport) -> None:
        """Print a line, with a star for a new best."""
        star = "  [green]★ best[/green]" if report.improved else ""
        console().print(
            f"step {report.step:>7,}  epoch {report.epoch:>3}  validation loss {report.loss:.4f}  "
            f"perplexity {report.perplexity:.3f}  token accuracy {report.token_accuracy:.2%}{star}"
        )

    def on_epoch(self, epoch: int, train_loss: float) -> None:
        """Nothing: the bar shows the epoch."""

    def on_checkpoint(self, report: CheckpointReport) -> None:
        """Nothing: the validation line shows the best."""
