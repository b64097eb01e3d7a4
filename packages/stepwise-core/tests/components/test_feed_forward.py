"""Feed-forward: each activation against its equation, position by position."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stepwise_core.components.feed_forward import FeedForward


def relu(x: Tensor) -> Tensor:
    return (x + x.abs()) / 2


def gelu(x: Tensor) -> Tensor:
    """Weigh x by the part of a standard normal distribution below x (Hendrycks and Gimpel, 2016)."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu, "silu": silu}
GATED: dict[str, Callable[[Tensor], Tensor]] = {"reglu": relu, "geglu": gelu, "swiglu": silu}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [*PLAIN, *GATED])
def test_each_activation_matches_its_equation(activation: str, bias: bool) -> None:
    torch.manual_seed(0)
    network = FeedForward(6, 10, activation, bias=bias).double()
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    state = network.state_dict()

    def linear(name: str, inputs: Tensor) -> Tensor:
        return inputs @ state[f"{name}.weight"].T + (state[f"{name}.bias"] if bias else 0.0)

    inner = linear("inner_projection", x)
    if activation in PLAIN:
        expected = linear("output_projection", PLAIN[activation](inner))  # act(x W1) W2
    else:
        gate = GATED[activation](linear("gate_projection", x))
        expected = linear("output_projection", gate * inner)  # (act(x Wg) * x W1) W2
    torch.testing.assert_close(network(x), expected)
    n_matrices = 3 if activation in GATED else 2
    assert len(state) == n_matrices * (2 if bias else 1)


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_positions_do_not_see_each_other(activation: str) -> None:
    torch.manual_seed(0)
    network = FeedForward(6, 10, activation)
    x = torch.randn(1, 4, 6)
    changed = x.clone()
    changed[0, 2] += 1.0
    same = (network(x) == network(changed)).all(dim=-1)[0]
    assert same.tolist() == [True, True, False, True]
