"""Positions: attention by itself does not know the order of its inputs (paper, section 3.5).

Two encodings are added to the embeddings (sinusoidal, learned); one rotates queries and keys (rotary).
"""

import math

import torch
from torch import Tensor, nn


def sinusoidal_table(length: int, d_model: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(the same) (paper, section 3.5).

    Returns:
        (length, D) float32.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]  # (L, 1)
    even = torch.arange(0, d_model, 2, dtype=torch.float64)  # (D/2,) the 2i of the equation
    angle = position * torch.exp(-math.log(10_000.0) * even / d_model)  # (L, D/2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()  # sin and cos take turns


class SinusoidalEncoding(nn.Module):
    """Adds the fixed sine and cosine waves of the paper.

    Args:
        d_model: D.
        max_length: longest sequence.
    """

    table: Tensor

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        # Not saved with the weights: it follows from the configuration.
        self.register_buffer("table", sinusoidal_table(max_length, d_model), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add positions start, start + 1, … to x (B, L, D).

        Raises:
            ValueError: if the last position is beyond max_length.
        """
        end = _end(start, x.shape[1], self.max_length)
        return x + self.table[start:end]


class LearnedEncoding(nn.Module):
    """Adds a learned vector per position (paper, section 3.5 and table 3, row E).

    Args:
        d_model: D.
        max_length: longest sequence.
    """

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.table = nn.Parameter(torch.zeros(max_length, d_model))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add positions start, start + 1, … to x (B, L, D).

        Raises:
            ValueError: if the last position is beyond max_length.
        """
        end = _end(start, x.shape[1], self.max_length)
        return x + self.table[start:end]


class RotaryEncoding(nn.Module):
    """Rotates pairs of features of queries and keys by an angle that grows with position (Su et al., 2021).

    The score of a query and a key then depends on their distance alone. Feature i is paired with feature
    i + d/2.

    Args:
        d_head: d, width of one head; even.
        max_length: longest sequence.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, d_head: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        position = torch.arange(max_length, dtype=torch.float64)[:, None]  # (L, 1)
        even = torch.arange(0, d_head, 2, dtype=torch.float64)  # (d/2,)
        angle = position * torch.exp(-math.log(10_000.0) * even / d_head)  # (L, d/2)
        angle = torch.cat([angle, angle], dim=-1)  # (L, d)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Rotate x (B, H, L, d), whose first position is `start`.

        Raises:
            ValueError: if the last position is beyond max_length.
        """
        end = _end(start, x.shape[-2], self.max_length)
        cos, sin = self.cos[start:end].to(x.dtype), self.sin[start:end].to(x.dtype)  # (L, d)
        first, second = x.chunk(2, dim=-1)  # (B, H, L, d/2) each
        turned = torch.cat([-second, first], dim=-1)  # a quarter turn of every pair
        return x * cos + turned * sin


class NoEncoding(nn.Module):
    """Adds nothing: with rotary positions, attention itself knows the order."""

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Return x (B, L, D) as it is."""
        return x


def _end(start: int, length: int, max_length: int) -> int:
    if start + length > max_length:
        raise ValueError(f"position {start + length} is beyond the limit model.max_length = {max_length}")
    return start + length
