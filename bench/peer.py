"""The peer: torch.nn.Transformer with embeddings and an output layer, as its documentation would have one use it."""

import math

import torch
from torch import Tensor, nn

from stepwise_core.components.positional_encoding import sinusoidal_table


class TorchTransformer(nn.Module):
    """Encoder-decoder around `torch.nn.Transformer`, of the size of a stepwise model.

    Args:
        d_model: D.
        n_heads: H.
        n_layers: of encoder and decoder each.
        d_ff: inner width of the feed-forward.
        vocab_size: V of both sides.
        dropout: wherever nn.Transformer has it.
        max_length: longest sequence.
    """

    table: Tensor

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_layers: int,
        d_ff: int,
        vocab_size: int,
        dropout: float,
        max_length: int,
    ) -> None:
        super().__init__()
        self.scale = math.sqrt(d_model)
        self.source_embedding = nn.Embedding(vocab_size, d_model)
        self.target_embedding = nn.Embedding(vocab_size, d_model)
        self.register_buffer("table", sinusoidal_table(max_length, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Transformer(
            d_model, n_heads, n_layers, n_layers, d_ff, dropout, activation="relu", batch_first=True
        )
        self.output_projection = nn.Linear(d_model, vocab_size, bias=False)

    def forward(self, source: Tensor, target_input: Tensor, source_is_padding: Tensor | None) -> Tensor:
        """Score next tokens: source (B, S), target_input (B, T), source_is_padding (B, S) -> logits (B, T, V)."""
        causal = nn.Transformer.generate_square_subsequent_mask(target_input.shape[1])
        hidden = self.transformer(
            self._embed(self.source_embedding, source),
            self._embed(self.target_embedding, target_input),
            tgt_mask=causal,
            tgt_is_causal=True,
            src_key_padding_mask=source_is_padding,
            memory_key_padding_mask=source_is_padding,
        )
        logits: Tensor = self.output_projection(hidden)
        return logits

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        vectors = embedding(ids) * self.scale + self.table[: ids.shape[1]]
        output: Tensor = self.dropout(vectors)
        return output


def peer_loss(model: TorchTransformer, source: Tensor, target_input: Tensor, target_output: Tensor) -> Tensor:
    """Loss of a batch as a usual training script computes it: mean over its target tokens."""
    is_padding = source == 0
    mask = is_padding if bool(is_padding.any()) else None
    logits = model(source, target_input, mask)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), target_output.flatten(), ignore_index=0, label_smoothing=0.1
    )
