"""Two shortcuts around the logger, under the names that training scripts know."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepwise_track.logger import ExperimentLogger
from stepwise_track.values import as_plain


def log_training_experiment(
    config: Any, model: Any, experiment_name: str | None = None, tags: Sequence[str] = (), **options: Any
) -> ExperimentLogger:
    """Open a logger for training a model, and log what the model is.

    Project, notes and entity are taken from the `logging` section of the config. The number of parameters
    becomes two single values, the modules a text.

    Args:
        config: parameters of the run: a mapping, a dataclass or a pydantic model.
        model: a torch module.
        experiment_name: name of the run; by default made from model, dataset and time.
        tags: labels, added to those of the config.
        **options: passed on to `ExperimentLogger`, such as `run_dir`.

    Returns:
        The open logger.

    Raises:
        TrackError: as `ExperimentLogger`.
    """
    settings = as_plain(config).get("logging") or {}
    logger = ExperimentLogger(
        settings.get("project_name") or "stepwise",
        experiment_name or settings.get("experiment_name"),
        config,
        [*dict.fromkeys([*settings.get("tags", ()), *tags])],
        settings.get("notes") or "",
        settings.get("entity"),
        **{"model_type": type(model).__name__.lower()} | options,
    )
    parameters = list(model.parameters())
    logger.log_single_value("num_parameters", sum(item.numel() for item in parameters))
    logger.log_single_value(
        "num_trainable_parameters", sum(item.numel() for item in parameters if item.requires_grad)
    )
    logger.log_text("model", str(model))
    return logger


def log_metrics_to_clearml(logger: ExperimentLogger, metrics: Mapping[str, Any]) -> None:
    """Log final metrics where ClearML shows them best: single values without a graph, table `Final Metrics`.

    Args:
        logger: an open logger.
        metrics: number by name.

    Raises:
        TrackError: if a value is no number.
    """
    for name, value in metrics.items():
        logger.log_single_value(name, value)
    rows = [{"Metric": name, "Value": value} for name, value in metrics.items()]
    logger.log_table("Final Metrics", rows, ["Metric", "Value"])
