"""Normalisation of each position's vector, and the residual connection around every sublayer (paper, section 3.1)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """(x - mean(x)) / sqrt(var(x) + eps) * weight + bias over the last dimension (Ba et al., 2016).

    Args:
        d_model: D.
        eps: added to the variance.
        bias: learn a shift.
    """

    def __init__(self, d_model: int, eps: float = 1e-5, *, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (…, D)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 2019).

    Args:
        d_model: D.
        eps: added to the mean square.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (…, D)."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def build_norm(name: str, d_model: int, eps: float, *, bias: bool) -> LayerNorm | RMSNorm:
    """Make the norm of a name: layernorm or rmsnorm (which never has a bias)."""
    return RMSNorm(d_model, eps) if name == "rmsnorm" else LayerNorm(d_model, eps, bias=bias)


class Residual(nn.Module):
    """Residual connection, dropout and norm around a sublayer.

    post (paper, section 3.1):      x -> norm(x + dropout(sublayer(x)))
    pre (Xiong et al., 2020):       x -> x + dropout(sublayer(norm(x)))

    Args:
        norm: the normalisation.
        position: post or pre.
        dropout: dropout on the sublayer's output (paper, section 5.4).
    """

    def __init__(self, norm: nn.Module, position: str, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.position = position
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the sublayer on x (B, L, D) and add its output to x."""
        if self.position == "pre":
            output: Tensor = x + self.dropout(sublayer(self.norm(x)))
        else:
            output = self.norm(x + self.dropout(sublayer(x)))
        return output
