"""Position-wise feed-forward: the same two-layer network at every position (paper, section 3.3)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
GATED: dict[str, str] = {"reglu": "relu", "geglu": "gelu", "swiglu": "silu"}


class FeedForward(nn.Module):
    """FFN(x) = act(x W1 + b1) W2 + b2 (paper, equation 2); gated: (act(x Wg) * x W1) W2 (Shazeer, 2020).

    Args:
        d_model: D, width of input and output.
        d_ff: F, inner width.
        activation: relu, gelu, silu, or gated: reglu, geglu, swiglu.
        bias: bias terms.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "relu", *, bias: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.gate_projection = nn.Linear(d_model, d_ff, bias=bias) if activation in GATED else None
        self.inner_projection = nn.Linear(d_model, d_ff, bias=bias)
        self.output_projection = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, L, D) to (B, L, D), each position by itself."""
        inner = self.inner_projection(x)  # (B, L, F)
        if self.gate_projection is None:
            inner = ACTIVATIONS[self.activation](inner)
        else:
            inner = ACTIVATIONS[GATED[self.activation]](self.gate_projection(x)) * inner
        output: Tensor = self.output_projection(inner)  # (B, L, D)
        return output
