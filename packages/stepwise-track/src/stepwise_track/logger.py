"""`ExperimentLogger`: what a training script calls. Every call becomes one event in the journal of the run.

ExperimentLogger     curves, parameters, single values; start and end of the run   (this module)
  RichLogger         texts, tables, pictures, histograms, checkpoints, artifacts   (rich_logger.py)
    RunSession       writes the events, survives a full disk                       (session.py)
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stepwise_track import limits
from stepwise_track.backends import wanted_backends
from stepwise_track.capture.console import ConsoleCapture
from stepwise_track.capture.ranks import RankSession, rank_of_process
from stepwise_track.capture.start import start_console, start_machine
from stepwise_track.events import Parameters, RunResumed, RunStarted, Scalars, SingleValues
from stepwise_track.naming import create_run_dir, default_run_name
from stepwise_track.process import this_process
from stepwise_track.rich_logger import RichLogger
from stepwise_track.session import RunSession
from stepwise_track.values import NotANumberError, as_number, as_plain, as_step


class ExperimentLogger(RichLogger):
    """Records a run in its folder. A context manager: an exception finishes the run as `failed`.

    Calls cost microseconds and touch no network. A value of a wrong type is an error at once; a disk that
    refuses is a warning, and the run goes on. All methods may be called from any thread of the process.

    Args:
        project_name: what the run belongs to; `/` makes a hierarchy.
        experiment_name: name of the run and, made safe, of its folder. Default:
            `{model_type}_{dataset}_{timestamp}`.
        config: parameters of the run, as a tree.
        tags: labels to find the run by.
        notes: its goal and hypothesis.
        entity: team or account, for trackers that know one.
        run_dir: the run folder, instead of a new one in `runs_dir`.
        runs_dir: where new run folders are made.
        model_type: for the default name and for lists.
        dataset: for the default name and for lists.
        resume_step: continue the run in `run_dir` after this step; what it logged above that step no longer
            counts.
        log_code: whether to record git commit and diff in `environment.json`.
        entry_point: how to start the program again, such as `-m my_package train`, where its arguments are not
            needed because `config` holds all settings; by default as this process was started.
        backends: where the relay sends the run besides its journal: names, or options by name; by default
            those in `STEPWISE_BACKENDS`, separated by commas.
        finish_wait_s: seconds that `finish` waits at most for the backends to have everything.
        capture_console: whether to record what the program prints.
        system_metrics: whether to measure processor, memory, disk, network and GPUs, or every how many seconds.
        durable: whether every event is on the disk when its call returns. Then a power failure loses nothing,
            and a call takes as long as the disk: milliseconds.

    In a process that torchrun gave a rank above 0, nothing is logged but the hardware, and that only with
    `run_dir`: rank 0 owns the run.

    Attributes:
        run_dir: the run folder.
        name: its name.

    Raises:
        TrackError: if the folder cannot be written, is in use, or holds a run while `resume_step` is not
            given; or if there is no backend of a name.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str | None = None,
        config: Any = None,
        tags: Sequence[str] = (),
        notes: str = "",
        entity: str | None = None,
        *,
        run_dir: Path | str | None = None,
        runs_dir: Path | str = "runs",
        model_type: str = "model",
        dataset: str = "data",
        resume_step: int | None = None,
        log_code: bool = True,
        entry_point: str | None = None,
        backends: Sequence[str] | Mapping[str, Mapping[str, Any] | None] | None = None,
        finish_wait_s: float = limits.FINISH_WAIT_S,
        capture_console: bool = True,
        system_metrics: bool | float = True,
        durable: bool = False,
    ) -> None:
        wanted = wanted_backends(backends)
        self._finish_wait_s = finish_wait_s
        self._step = resume_step
        self._console: ConsoleCapture | None = None
        if rank_of_process() > 0:
            self._begin_other_rank(run_dir, system_metrics)
            return
        process = this_process()
        name = experiment_name or default_run_name(model_type, dataset)
        resumed = None if resume_step is None else RunResumed(as_step("resume_step", resume_step), process)
        run_dir = Path(run_dir) if run_dir is not None else create_run_dir(Path(runs_dir), name)
        started = RunStarted(
            project_name=project_name,
            experiment_name=experiment_name or run_dir.name,
            model_type=model_type,
            dataset=dataset,
            process=process,
            tags=tuple(tags),
            notes=notes,
            entity=entity,
        )
        session = RunSession(
            run_dir,
            started,
            resumed,
            with_code=log_code,
            entry_point=entry_point,
            wanted=wanted,
            durable=durable,
        )
        super().__init__(session)
        if capture_console:
            self._console = start_console(session)
        if system_metrics:
            start_machine(session, system_metrics)
        if config is not None:
            self.log_hyperparameters(config)

    def _begin_other_rank(self, run_dir: Path | str | None, system_metrics: bool | float) -> None:
        """Log nothing in this process; measure its hardware if it is known where to put the figures."""
        session = RankSession(Path(run_dir or "."))
        super().__init__(session)
        if system_metrics and run_dir is not None:
            start_machine(session, system_metrics)

    def log_training_step(
        self,
        loss: Any,
        learning_rate: Any = None,
        gradient_norm: Any = None,
        *,
        step: int,
        epoch: Any = None,
        **metrics: Any,
    ) -> None:
        """Log points of the training curves, all below `train/`.

        Args:
            loss: training loss.
            learning_rate: learning rate of this step.
            gradient_norm: L2 norm of the gradient before clipping.
            step: optimiser steps done.
            epoch: epoch, whole or fractional.
            **metrics: further numbers; `train/<name>`.

        Raises:
            TrackError: if a value is no number or the step is negative.
        """
        self._log_curves(
            "train",
            {"loss": loss, "learning_rate": learning_rate, "gradient_norm": gradient_norm} | metrics,
            step,
            epoch,
        )
        for watch in self._watches:
            if watch.is_due(step):
                self._look(watch, step)

    def log_validation_step(
        self, loss: Any, perplexity: Any = None, *, step: int, epoch: Any = None, **metrics: Any
    ) -> None:
        """Log points of the validation curves, below `validation/`; arguments as in `log_training_step`."""
        self._log_curves("validation", {"loss": loss, "perplexity": perplexity} | metrics, step, epoch)

    def _log_curves(self, title: str, metrics: dict[str, Any], step: int, epoch: Any) -> None:
        """Log the metrics that were given, at a training step, and remember the step."""
        begun = time.perf_counter()
        values = {f"{title}/{key}": as_number(key, item) for key, item in metrics.items() if item is not None}
        self._step = as_step("step", step)
        self._session.append(
            Scalars(values, self._step, None if epoch is None else as_number("epoch", epoch)), begun
        )

    def log_epoch(self, epoch: int, train_loss: Any = None, val_loss: Any = None, **metrics: Any) -> None:
        """Log the summary of an epoch; the x axis of these curves, all below `epoch/`, is the epoch.

        Args:
            epoch: which epoch ended.
            train_loss: mean training loss over it.
            val_loss: validation loss at its end.
            **metrics: further numbers; `epoch/<name>`.

        Raises:
            TrackError: if a value is no number or the epoch is negative.
        """
        metrics = {"train_loss": train_loss, "val_loss": val_loss} | metrics
        values = {f"epoch/{key}": as_number(key, item) for key, item in metrics.items() if item is not None}
        self._session.append(Scalars(values, self._step, as_step("epoch", epoch), axis="epoch"))

    def log_custom_metric(self, metric_name: str, value: Any, step: int, **info: Any) -> None:
        """Log one point of any curve.

        Args:
            metric_name: series; what stands before a first `/` is the title of its graph.
            value: the number.
            step: the point on the x axis: training step, example number, …
            **info: kept with the point.

        Raises:
            TrackError: if the value is no number or the step is negative.
        """
        values = {metric_name: as_number(metric_name, value)}
        self._session.append(Scalars(values, as_step("step", step), info=as_plain(info) if info else None))

    def log_hyperparameters(self, hyperparameters: Any) -> None:
        """Add parameters to those of the run; equal keys are replaced.

        Args:
            hyperparameters: a mapping of any depth, a dataclass or a pydantic model.
        """
        self._session.append(Parameters(as_plain(hyperparameters)))

    def log_single_value(self, name: str, value: Any) -> None:
        """Log a number without an x axis, such as a final score; the last one of a name counts.

        Raises:
            TrackError: if the value is no number.
        """
        self._session.append(SingleValues({name: as_number(name, value)}))

    def log_experiment_summary(self, **values: Any) -> None:
        """Log what came out: numbers as single values, everything else as parameters below `summary`."""
        words = {}
        for name, value in values.items():
            try:
                self.log_single_value(name, value)
            except NotANumberError:
                words[name] = value
        if words:
            self.log_hyperparameters({"summary": words})

    def log_hyperparameter_ablation(
        self,
        ablation_name: str,
        baseline_metrics: Mapping[str, Any],
        ablated_metrics: Mapping[str, Any],
        ablation_config: Mapping[str, Any],
        step: int | None = None,
    ) -> None:
        """Log what changes when a part is changed: a table of both results, and the change as parameters.

        Args:
            ablation_name: what was changed; the table is `ablation/<name>`, the parameters `ablation.<name>`.
            baseline_metrics: results without the change, by metric.
            ablated_metrics: results with it.
            ablation_config: the parameters that were changed.
            step: training step.

        Raises:
            TrackError: if a result is no number.
        """
        rows = []
        for metric in dict.fromkeys([*baseline_metrics, *ablated_metrics]):
            pair = [baseline_metrics.get(metric), ablated_metrics.get(metric)]
            before, after = (None if item is None else as_number(metric, item) for item in pair)
            change = None if before is None or after is None else after - before
            rows.append([metric, before, after, change])
        columns = ["metric", "baseline", "ablated", "change"]
        self.log_hyperparameters({"ablation": {ablation_name: ablation_config}})
        self.log_table(f"ablation/{ablation_name}", rows, columns, step)

    def finish(self, status: str = "completed", *, wait_s: float | None = None) -> None:
        """End the run: write its status and bring everything to the disk. A second call does nothing.

        With backends, waits until they have everything, but not longer than told; what is pending then is said,
        with the command that delivers it.

        Args:
            status: `completed`, `failed` or `stopped`.
            wait_s: seconds to wait for the backends at most, instead of `finish_wait_s`.

        Raises:
            TrackError: for any other status.
        """
        self._session.finish(status, self._finish_wait_s if wait_s is None else wait_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish as `completed`, `stopped` (interrupt, exit code 130) or `failed` (any other error).

        The traceback is recorded with the console, though Python prints it only when all is closed.
        """
        if self._console and error is not None and not isinstance(error, SystemExit):
            self._console.keep("stderr", "".join(traceback.format_exception(error)))
        code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", None)
        if error is None or (isinstance(error, SystemExit) and code in (None, 0)):
            self.finish("completed")
        else:
            self.finish("stopped" if isinstance(error, KeyboardInterrupt) or code == 130 else "failed")
