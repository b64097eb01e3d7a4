"""Batches as tensors: sequences of token ids side by side, padded on the right.

Shape legend: B batch, S longest source, T longest target, in tokens with one mark each.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stepwise_core.data.encoding import EncodedSplit, encode_split
from stepwise_core.data.plan import BatchIndices, BatchPlan, fixed_batches
from stepwise_core.data.tokenizers import BOS, EOS, PAD

__all__ = ["Batch", "BatchPlan", "EncodedSplit", "collate", "encode_split", "fixed_batches"]


@dataclass(frozen=True)
class Batch:
    """Examples as tensors.

    Attributes:
        source: (B, S) int64, each row ends with `<eos>`, then `<pad>`.
        target_input: (B, T) int64, `<bos>` and the target: what the decoder reads.
        target_output: (B, T) int64, the target and `<eos>`: what it should write, one step ahead.
        source_lengths: (B,) int64, always on the CPU: nobody waits for a GPU to learn of padding.
        target_lengths: (B,) int64, always on the CPU.
        indices: the examples' places in the split, row by row.
    """

    source: Tensor
    target_input: Tensor
    target_output: Tensor
    source_lengths: Tensor
    target_lengths: Tensor
    indices: BatchIndices

    @property
    def n_target_tokens(self) -> int:
        """Target tokens that count in the loss, end marks included."""
        return int(self.target_lengths.sum())

    @property
    def n_tokens(self) -> int:
        """Useful tokens, source and target, end marks included."""
        return int(self.source_lengths.sum()) + self.n_target_tokens

    @property
    def n_padded(self) -> int:
        """Cells of source and target, padding included."""
        return self.source.numel() + self.target_output.numel()

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch with its token ids on a device; the lengths stay on the CPU."""
        return replace(
            self,
            source=self.source.to(device, non_blocking=True),
            target_input=self.target_input.to(device, non_blocking=True),
            target_output=self.target_output.to(device, non_blocking=True),
        )


def collate(split: EncodedSplit, indices: BatchIndices) -> Batch:
    """Put examples of a split side by side.

    Args:
        split: the encoded examples.
        indices: which of them, in this order; at least one.
    """
    rows = np.asarray(indices)
    source, source_lengths = _pad(split.source_ids, split.source_offsets, rows)  # (B, S), (B,)
    target_output, target_lengths = _pad(split.target_ids, split.target_offsets, rows)  # (B, T), (B,)
    target_input = np.empty_like(target_output)  # (B, T)
    target_input[:, 0] = BOS
    target_input[:, 1:] = target_output[:, :-1]
    target_input[target_input == EOS] = PAD  # the end mark of a shorter row, pushed into its padding
    return Batch(
        source=torch.from_numpy(source),
        target_input=torch.from_numpy(target_input),
        target_output=torch.from_numpy(target_output),
        source_lengths=torch.from_numpy(source_lengths),
        target_lengths=torch.from_numpy(target_lengths),
        indices=tuple(indices),
    )


def _pad(
    ids: NDArray[np.int32], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the padded sequences (B, L) and their lengths (B,), without a loop over tokens or rows."""
    starts = offsets[rows]  # (B,)
    lengths = offsets[rows + 1] - starts  # (B,)
    columns = np.arange(lengths.max())  # (L,)
    inside = columns < lengths[:, None]  # (B, L)
    cells = np.where(inside, starts[:, None] + columns, 0)  # (B, L), places in `ids`
    return np.where(inside, ids[cells], PAD).astype(np.int64), lengths
