"""Where a training stands: everything besides weights and optimiser that a resumed run needs."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class TrainingState:
    """Position and records of a training.

    There is no generator state here: chance is a function of (seed, stream, step), see `randomness`.

    Attributes:
        step: completed optimiser steps.
        epoch: epoch in progress, from 0.
        batch: batches of that epoch already trained on.
        epoch_loss_sum: summed loss of the epoch in progress.
        epoch_target_tokens: target tokens of the epoch in progress.
        last_validation_loss: of the latest validation.
        validated_at: step of the latest validation.
        best_loss: lowest validation loss so far.
        validations_without_improvement: for early stopping.
        seconds: time spent in training steps, over all sessions.
        tokens: useful tokens trained on.
        cells: token cells trained on, padding included.
        finished: the planned training is done.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    epoch_loss_sum: float = 0.0
    epoch_target_tokens: int = 0
    last_validation_loss: float | None = None
    validated_at: int | None = None
    best_loss: float | None = None
    validations_without_improvement: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cells: int = 0
    finished: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which keeps every bit of a float."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingState":
        """Read what `to_dict` wrote; unknown keys of newer versions are ignored."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True)
class Identity:
    """What a checkpoint belongs to; resuming with anything else is refused.

    Attributes:
        model: the model section of the configuration.
        source_vocabulary: fingerprint of the source tokenizer.
        target_vocabulary: fingerprint of the target tokenizer.
        data_version: content hash of the dataset.
    """

    model: dict[str, Any] = field(default_factory=dict)
    source_vocabulary: str = ""
    target_vocabulary: str = ""
    data_version: str = ""
