"""What training tells the world, and the listener interface through which it does.

Data flows one way: listeners (progress display, journal, ledger) are told; nothing they do reaches training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunPlan:
    """What is about to be trained.

    Attributes:
        run: name of the run.
        folder: its folder.
        parameters: trainable numbers, tied ones once.
        steps_per_epoch: optimiser steps of the first epoch.
        total_steps: planned steps.
        first_step: completed steps at the start: 0, or those of the checkpoint resumed from.
        padding_ratio: part of all token cells of the first epoch that is padding.
        device: where it runs, in words.
    """

    run: str
    folder: Path
    parameters: int
    steps_per_epoch: int
    total_steps: int
    first_step: int
    padding_ratio: float
    device: str


@dataclass(frozen=True)
class StepReport:
    """One optimiser step.

    Attributes:
        step: from 1.
        epoch: from 1.
        loss: training loss in nats per target token, label smoothing included.
        learning_rate: of this step.
        gradient_norm: global L2 norm before clipping.
        tokens: useful (non-padding) source and target tokens of the step.
        cells: token cells of the step, padding included.
        seconds: wall time of the step.
        detailed: whether this step is due for logging; the fields below are only then filled.
        gradient_norms: L2 norm per block.
        memory: figures in bytes: process, and GPU where there is one.
        histograms: values of weights and gradients by name, where their histograms are due.
        model_flops_utilisation: part of the device's peak, where the peak is known.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    cells: int
    seconds: float
    detailed: bool = False
    gradient_norms: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    model_flops_utilisation: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """Useful tokens per second."""
        return self.tokens / self.seconds

    @property
    def padding_ratio(self) -> float:
        """Part of the step's token cells that is padding."""
        return 1.0 - self.tokens / self.cells


@dataclass(frozen=True)
class Sample:
    """One sentence, its reference, and the model's output."""

    source: str
    reference: str
    output: str


@dataclass(frozen=True)
class ValidationReport:
    """One look at the validation split.

    Attributes:
        step: completed steps.
        epoch: from 1.
        loss: nats per target token, without label smoothing.
        perplexity: exp(loss).
        token_accuracy: part of target tokens predicted right, given the true tokens before them.
        improved: whether the loss is the best so far.
        samples: translated sentences.
    """

    step: int
    epoch: int
    loss: float
    perplexity: float
    token_accuracy: float
    improved: bool
    samples: Sequence[Sample] = ()


@dataclass(frozen=True)
class CheckpointReport:
    """A checkpoint that is completely on disk.

    Attributes:
        step: completed steps.
        epoch: from 1.
        path: its folder.
        loss: latest validation loss, if there was one.
        is_best: whether it is the best so far.
    """

    step: int
    epoch: int
    path: Path
    loss: float | None
    is_best: bool


class Listener(Protocol):
    """Somebody who is told what happens in training."""

    def on_start(self, plan: RunPlan) -> None:
        """Training is about to begin or to continue."""

    def on_step(self, report: StepReport) -> None:
        """An optimiser step is done."""

    def on_validation(self, report: ValidationReport) -> None:
        """The validation split was scored."""

    def on_epoch(self, epoch: int, train_loss: float) -> None:
        """An epoch (from 1) is done; train_loss is the mean over its target tokens."""

    def on_checkpoint(self, report: CheckpointReport) -> None:
        """A checkpoint was written."""
