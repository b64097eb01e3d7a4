"""Comparing two checkpoints bit by bit: the proof that resuming and looking change nothing."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stepwise_core.training.checkpoints import read_checkpoint


@dataclass(frozen=True)
class Difference:
    """How far apart two sets of tensors are.

    Attributes:
        values: numbers compared.
        different: how many of them differ in any bit; a tensor that only one side has differs everywhere.
        largest: largest absolute difference.
    """

    values: int
    different: int
    largest: float

    @property
    def is_zero(self) -> bool:
        """Whether both are equal to the bit."""
        return self.different == 0


def compare_checkpoints(first: Path, second: Path) -> dict[str, Difference]:
    """Compare weights and optimiser state of two checkpoints.

    Returns:
        {"weights": …, "optimizer": …}.

    Raises:
        CheckpointError: if one cannot be read.
    """
    a, b = read_checkpoint(first), read_checkpoint(second)
    return {
        "weights": compare_tensors(a.weights, b.weights),
        "optimizer": compare_tensors(a.optimizer, b.optimizer),
    }


def compare_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> Difference:
    """Compare tensors of equal names bit by bit; -0.0 and 0.0 differ, a NaN equals itself."""
    values, different, largest = 0, 0, 0.0
    for name in {**first, **second}:
        a, b = first.get(name), second.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            size = max(tensor.numel() for tensor in (a, b) if tensor is not None)
            values, different, largest = values + size, different + size, float("inf")
            continue
        unequal = (_bytes(a) != _bytes(b)).any(dim=-1)
        values += a.numel()
        different += int(unequal.sum())
        if unequal.any():
            largest = max(largest, float((a.double() - b.double()).abs().nan_to_num(torch.inf).max()))
    return Difference(values, different, largest)


def _bytes(tensor: Tensor) -> Tensor:
    """(…) -> (numel, bytes per number) uint8."""
    flat = tensor.contiguous().view(-1)
    return flat.view(torch.uint8).view(flat.numel(), -1)
