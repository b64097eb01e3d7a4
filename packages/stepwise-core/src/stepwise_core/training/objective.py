"""What training minimises: label-smoothed cross-entropy, summed so that a whole step can be averaged by token."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stepwise_core.data.tokenizers import PAD


def label_smoothed_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Sum of the cross-entropy of all real target tokens.

    The model is asked for 1 - smoothing on the right token and for the rest spread evenly over the vocabulary,
    so it is never rewarded for certainty without end (paper, section 5.4; Szegedy et al., 2016).

    Args:
        logits: (B, T, V).
        targets: (B, T) int64; PAD does not count.
        smoothing: part of the probability that is spread; 0 = plain cross-entropy.

    Returns:
        Scalar sum in nats. Divide by the target tokens of the whole optimiser step, not of this batch: then
        32 x 1 and 4 x 8 ragged micro-batches give the same gradient.
    """
    # A sum over a vocabulary is too long for bfloat16; float64 stays what it is.
    precise = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(
        logits.flatten(0, 1).to(precise),
        targets.flatten(),
        ignore_index=PAD,
        label_smoothing=smoothing,
        reduction="sum",
    )


@torch.no_grad()
def count_correct(logits: Tensor, targets: Tensor) -> int:
    """Count real target tokens that get the highest score: logits (B, T, V), targets (B, T)."""
    correct = (logits.argmax(dim=-1) == targets) & (targets != PAD)
    return int(correct.sum())
