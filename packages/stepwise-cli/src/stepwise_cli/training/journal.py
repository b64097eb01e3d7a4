"""The listener that writes a training into the run's journal and its run.log."""

from pathlib import Path

from loguru import logger as log

from stepwise_core.config import LoggingConfig
from stepwise_core.files import write_atomic
from stepwise_core.training.reports import CheckpointReport, RunPlan, StepReport, ValidationReport
from stepwise_track import ExperimentLogger


class JournalListener:
    """Hands what training tells to the experiment logger.

    Args:
        logger: the open logger of the run.
        settings: what to log.
        folder: the run folder.
    """

    def __init__(self, logger: ExperimentLogger, settings: LoggingConfig, folder: Path) -> None:
        self._logger = logger
        self._settings = settings
        self._folder = folder

    def on_start(self, plan: RunPlan) -> None:
        """Record size and plan of the training."""
        log.info(
            "{} on {}: {} parameters, {} steps", plan.run, plan.device, plan.parameters, plan.total_steps
        )
        self._logger.log_single_value("num_parameters", plan.parameters)
        self._logger.log_single_value("padding_ratio", plan.padding_ratio)

    def on_step(self, report: StepReport) -> None:
        """Record a step that is due."""
        for name, values in report.histograms.items():
            self._logger.log_histogram(name, values, step=report.step)
        if not report.detailed:
            return
        settings = self._settings
        for block, norm in report.gradient_norms.items():
            self._logger.log_custom_metric(f"gradient_norm/{block}", norm, report.step)
        for name, size in report.memory.items():
            self._logger.log_custom_metric(f"memory/{name}_bytes", size, report.step)
        metrics: dict[str, float] = {}
        if settings.log_compute_time:
            metrics |= {"step_seconds": report.seconds, "tokens_per_second": report.tokens_per_second}
            metrics["padding_ratio"] = report.padding_ratio
            if report.model_flops_utilisation is not None:
                metrics["model_flops_utilisation"] = report.model_flops_utilisation
        self._logger.log_training_step(
            report.loss,
            report.learning_rate if settings.log_learning_rate else None,
            report.gradient_norm if settings.log_gradient_norms else None,
            step=report.step,
            epoch=report.epoch,
            **metrics,
        )

    def on_validation(self, report: ValidationReport) -> None:
        """Record scores and translated sentences."""
        log.info("step {}: validation loss {:.6f}", report.step, report.loss)
        self._logger.log_validation_step(
            report.loss,
            report.perplexity,
            step=report.step,
            epoch=report.epoch,
            token_accuracy=report.token_accuracy,
        )
        if not report.samples:
            return
        text = "\n".join(f"{s.source}\n  = {s.reference}\n  > {s.output}" for s in report.samples)
        (self._folder / "samples").mkdir(exist_ok=True)
        write_atomic(self._folder / "samples" / f"step-{report.step:08d}.txt", text + "\n")
        if self._settings.log_artifacts:
            self._logger.log_text("samples", text, step=report.step)

    def on_epoch(self, epoch: int, train_loss: float) -> None:
        """Record the mean loss of an epoch."""
        self._logger.log_epoch(epoch, train_loss)

    def on_checkpoint(self, report: CheckpointReport) -> None:
        """Record a checkpoint by path and content hash."""
        log.info(
            "step {}: checkpoint {}{}", report.step, report.path.name, " (best)" if report.is_best else ""
        )
        if self._settings.log_model:
            self._logger.log_checkpoint(
                None, None, report.epoch, report.step, report.loss, report.path, is_best=report.is_best
            )
