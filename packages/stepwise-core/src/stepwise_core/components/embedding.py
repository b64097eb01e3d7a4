"""From token ids to vectors that know their position (paper, sections 3.4 and 3.5)."""

import math

from torch import Tensor, nn

from stepwise_core.components.positional_encoding import LearnedEncoding, NoEncoding, SinusoidalEncoding


class Embedding(nn.Module):
    """Token vectors, scaled, with positions and dropout.

    Args:
        vocab_size: V.
        d_model: D.
        positions: sinusoidal, learned, or rotary (which adds nothing here).
        max_length: longest sequence.
        scale: multiply token vectors by sqrt(D) (paper, section 3.4).
        dropout: dropout on the sum (paper, section 5.4).
    """

    def __init__(
        self, vocab_size: int, d_model: int, *, positions: str, max_length: int, scale: bool, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.scale = math.sqrt(d_model) if scale else 1.0
        self.positions: nn.Module
        if positions == "sinusoidal":
            self.positions = SinusoidalEncoding(d_model, max_length)
        elif positions == "learned":
            self.positions = LearnedEncoding(d_model, max_length)
        else:
            self.positions = NoEncoding()
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Embed ids (B, L) int64 at positions start, start + 1, … as (B, L, D)."""
        vectors = self.tokens(ids) * self.scale
        output: Tensor = self.dropout(self.positions(vectors, start))
        return output
