"""Scores of the next token, step by step: with a key-value cache, or by running the whole prefix again."""

import torch
from torch import Tensor

from stepwise_core.components.masks import AttentionMask
from stepwise_core.data.tokenizers import BOS, PAD
from stepwise_core.models.transformer import Transformer


class NextTokenScorer:
    """Log-probabilities of the next token for a batch of prefixes over fixed sources.

    Args:
        model: in evaluation mode.
        source: (B, S) int64 token ids, right-padded.
        source_mask: which source tokens are real.
        use_cache: keep keys and values of earlier steps; without it every step runs the whole prefix.
        copies: search rows per source sentence (the beam): each sentence is encoded once and then repeated.
    """

    def __init__(
        self,
        model: Transformer,
        source: Tensor,
        source_mask: AttentionMask,
        *,
        use_cache: bool = True,
        copies: int = 1,
    ) -> None:
        self._model = model
        self._memory = model.encode(source, source_mask)  # (B, S, D)
        self._mask = source_mask
        self._cache = model.new_cache() if use_cache else None
        if copies > 1:
            rows = torch.arange(len(source), device=source.device).repeat_interleave(copies)
            self._memory, self._mask = self._memory[rows], _select_mask(self._mask, rows)

    def __call__(self, prefixes: Tensor) -> Tensor:
        """Score what may follow the prefixes.

        Args:
            prefixes: (B, T) int64, starting with <bos>; one token longer than at the last call.

        Returns:
            (B, V) float32 log-probabilities; <pad> and <bos> are impossible.
        """
        new = prefixes if self._cache is None else prefixes[:, -1:]
        logits = self._model.decode(new, self._memory, self._mask, self._cache)[:, -1].float()  # (B, V)
        logits[:, [PAD, BOS]] = -torch.inf
        return logits.log_softmax(dim=-1)

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order: (rows,) int64 indices into B."""
        self._memory, self._mask = self._memory[rows], _select_mask(self._mask, rows)
        for layer in self._cache or ():
            layer.select(rows)


def _select_mask(mask: AttentionMask, rows: Tensor) -> AttentionMask:
    if mask.key_is_real is None:
        return mask
    return AttentionMask(mask.key_is_real[rows], mask.causal)
