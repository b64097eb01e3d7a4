"""Loss, perplexity and teacher-forced accuracy on a split, without touching the training."""

import math
from dataclasses import dataclass

import torch

from stepwise_core.components.masks import AttentionMask
from stepwise_core.data.batches import EncodedSplit, collate, fixed_batches
from stepwise_core.models.transformer import Transformer
from stepwise_core.training.objective import count_correct, label_smoothed_loss


@dataclass(frozen=True)
class SplitLoss:
    """How well a model predicts a split.

    Attributes:
        loss: nats per target token, without label smoothing.
        token_accuracy: part of target tokens predicted right, given the true tokens before them.
        target_tokens: number of target tokens, end marks included.
    """

    loss: float
    token_accuracy: float
    target_tokens: int

    @property
    def perplexity(self) -> float:
        """exp(loss): among how many equally likely tokens the model chooses; infinite where exp overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@torch.no_grad()
def measure_loss(model: Transformer, split: EncodedSplit, batch_size: int, device: torch.device) -> SplitLoss:
    """Score a split with teacher forcing, dropout off; the model's mode is put back."""
    was_training = model.training
    model.eval()
    loss, correct, tokens = 0.0, 0, 0
    try:
        for indices in fixed_batches(split, batch_size):
            batch = collate(split, indices)
            mask = AttentionMask.from_lengths(batch.source_lengths, batch.source.shape[1], device)
            batch = batch.to(device)
            logits = model(batch.source, batch.target_input, mask)  # (B, T, V)
            loss += float(label_smoothed_loss(logits, batch.target_output, smoothing=0.0))
            correct += count_correct(logits, batch.target_output)
            tokens += batch.n_target_tokens
    finally:
        model.train(was_training)
    return SplitLoss(loss / tokens, correct / tokens, tokens)
