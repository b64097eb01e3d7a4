"""One optimiser step: forward, loss per target token over the whole step, backward, clip, update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import TrainingConfig
from stepwise_core.data.batches import Batch
from stepwise_core.training.objective import label_smoothed_loss
from stepwise_core.training.randomness import seed_torch

Forward = Callable[[Tensor, Tensor, AttentionMask], Tensor]


@dataclass(frozen=True)
class Gradients:
    """What the backward passes of a step left behind, besides the gradients in the parameters.

    Attributes:
        loss: mean over the step's target tokens, in nats.
        target_tokens: their number.
    """

    loss: float
    target_tokens: int


class StopRequested(Exception):
    """Somebody asked to stop in the middle of a step; its gradients are dropped, the step is repeated on resume."""


def accumulate_gradients(
    forward: Forward,
    batches: Sequence[Batch],
    config: TrainingConfig,
    device: torch.device,
    step: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Gradients:
    """Run forward and backward over the micro-batches of a step.

    The loss is divided by the target tokens of the whole step, not micro-batch by micro-batch: ragged
    micro-batches then weigh each token alike, and 32 x 1 gives the gradient of 4 x 8.

    Args:
        forward: the model, perhaps compiled: (source, target_input, source_mask) -> logits (B, T, V).
        batches: the micro-batches, on the CPU.
        config: seed, label_smoothing, precision.
        device: where to compute.
        step: number of the step, from 1: dropout is a function of (seed, step, micro-batch).
        should_stop: asked before every micro-batch.

    Raises:
        StopRequested: if it says so.
    """
    target_tokens = sum(batch.n_target_tokens for batch in batches)
    total = 0.0
    for index, batch in enumerate(batches):
        if should_stop():
            raise StopRequested
        seed_torch(config.seed, "dropout", step, index)
        mask = AttentionMask.from_lengths(batch.source_lengths, batch.source.shape[1], device)
        batch = batch.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = forward(batch.source, batch.target_input, mask)  # (B, T, V)
        loss = label_smoothed_loss(logits, batch.target_output, config.label_smoothing) / target_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return Gradients(total, target_tokens)


def clip_gradients(model: nn.Module, limit: float | None) -> float:
    """Scale all gradients to a global L2 norm of at most `limit` (Pascanu et al., 2013); return the norm before.

    A norm that is not finite leaves the gradients as they are: scaling by it would wipe out what went wrong.
    """
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if limit is not None and norm.isfinite():
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm)
    return float(norm)
