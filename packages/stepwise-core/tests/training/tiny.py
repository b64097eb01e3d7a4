"""A training small enough for a test: its configuration, its session, and a listener that keeps all it is told."""

from pathlib import Path

from stepwise_core.config import ResolvedConfig, load_config
from stepwise_core.errors import Interrupted
from stepwise_core.runs import RunFolder, create_run
from stepwise_core.training.interrupts import StopRequest
from stepwise_core.training.loop import Trainer
from stepwise_core.training.reports import CheckpointReport, RunPlan, StepReport, ValidationReport
from stepwise_core.training.session import Session, resume_session, start_session
from stepwise_core.verification import compare_checkpoints

TINY = (
    *("preset=modern", "model.d_model=16", "model.n_heads=2", "model.n_layers=1", "model.max_length=16"),
    *("model.dropout=0.2", "data.name=copy", "data.n_train=240", "data.n_valid=20", "data.n_test=20"),
    *("data.toy.min_length=3", "data.toy.max_length=8", "training.batch_size=32", "training.epochs=2"),
    *("training.warmup_steps=3", "training.device=cpu", "training.threads=1", "evaluation.n_samples=2"),
    *("logging.log_validation_every=6", "logging.log_training_every=1"),
)
"""Copy three to eight letters: 8 batches of at most 32 an epoch, so two epochs are 16 steps."""


class Recorder:
    """A listener that keeps every report, in the order in which they came."""

    def __init__(self) -> None:
        self.plan: RunPlan | None = None
        self.steps: list[StepReport] = []
        self.validations: list[ValidationReport] = []
        self.checkpoints: list[CheckpointReport] = []
        self.epochs: list[tuple[int, float]] = []
        self.order: list[str] = []

    @property
    def losses(self) -> dict[int, float]:
        return {report.step: report.loss for report in self.steps}

    def on_start(self, plan: RunPlan) -> None:
        self.plan = plan
        self.order.append("start")

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)
        self.order.append(f"step {report.step}")

    def on_validation(self, report: ValidationReport) -> None:
        self.validations.append(report)
        self.order.append(f"validation {report.step}")

    def on_epoch(self, epoch: int, train_loss: float) -> None:
        self.epochs.append((epoch, train_loss))
        self.order.append(f"epoch {epoch}")

    def on_checkpoint(self, report: CheckpointReport) -> None:
        self.checkpoints.append(report)
        self.order.append(f"checkpoint {report.step}")


class StopAt(StopRequest):
    """A request to stop that comes right before a micro-batch, counted from 0 from now on."""

    def __init__(self, micro_batch: int) -> None:
        self.looks_left = micro_batch

    @property
    def requested(self) -> bool:
        self.looks_left -= 1
        if self.looks_left < 0:
            self.signal_name = "SIGINT"
        return self.signal_name is not None


def tiny_config(*changes: str) -> ResolvedConfig:
    """Return the tiny configuration with changes, each `key=value`."""
    return load_config(None, [*TINY, *changes], environ={})


def tiny_session(runs: Path, *changes: str, name: str = "run") -> Session:
    """Make a run folder and prepare its training."""
    resolved = tiny_config(*changes)
    return start_session(resolved.config, create_run(runs, name, resolved))


def train(session: Session, stop: StopRequest | None = None) -> Recorder:
    """Train until the end or the stop, and return what was reported."""
    recorder = Recorder()
    try:
        Trainer(session, [recorder], stop).run()
    except Interrupted:
        assert stop is not None, "nobody asked to stop"
    return recorder


def train_run(runs: Path, *changes: str, name: str = "run") -> tuple[RunFolder, Recorder]:
    """Make a run folder and train it to its end."""
    session = tiny_session(runs, *changes, name=name)
    return session.folder, train(session)


def resume(folder: RunFolder, stop: StopRequest | None = None) -> Recorder:
    """Go on with a run as its own config.json says."""
    return train(resume_session(folder.config(), folder), stop)


def assert_equal_checkpoints(first: RunFolder, second: RunFolder, checkpoint: str = "latest") -> None:
    """Weights and optimiser of both runs are equal to the bit."""
    found = compare_checkpoints(first.checkpoints / checkpoint, second.checkpoints / checkpoint)
    assert all(difference.is_zero for difference in found.values()), found
    assert all(difference.values > 1_000 for difference in found.values()), "nothing was compared"
