"""Norms against their equations, and the residual connection before and after the norm."""

import pytest
import torch
from torch import Tensor, nn

from stepwise_core.components.normalization import LayerNorm, Residual, RMSNorm, build_norm


def inputs() -> Tensor:
    return torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_layernorm_is_torchs(bias: bool, eps: float) -> None:
    torch.manual_seed(0)
    ours, theirs = LayerNorm(8, eps, bias=bias).double(), nn.LayerNorm(8, eps, bias=bias).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(inputs()), theirs(inputs()))


def test_layernorm_matches_its_equation() -> None:
    x = inputs()
    variance = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
    expected = (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(LayerNorm(8).double()(x), expected)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_rmsnorm_matches_its_equation(eps: float) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(8, eps).double()
    nn.init.normal_(norm.weight)
    x = inputs()
    expected = x / ((x**2).mean(-1, keepdim=True) + eps).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(
    ("name", "bias", "parameters"),
    [
        ("layernorm", True, {"weight", "bias"}),
        ("layernorm", False, {"weight"}),
        ("rmsnorm", True, {"weight"}),
        ("rmsnorm", False, {"weight"}),
    ],
)
def test_norms_by_name(name: str, bias: bool, parameters: set[str]) -> None:
    norm = build_norm(name, 8, 0.25, bias=bias)
    assert isinstance(norm, RMSNorm if name == "rmsnorm" else LayerNorm)
    assert set(norm.state_dict()) == parameters
    assert norm.eps == 0.25


def sublayer(x: Tensor) -> Tensor:
    return x**2 - 0.5


def test_post_norm_residual() -> None:
    norm = LayerNorm(8).double()
    x = inputs()
    torch.testing.assert_close(Residual(norm, "post", 0.0)(x, sublayer), norm(x + sublayer(x)))


def test_pre_norm_residual() -> None:
    norm = LayerNorm(8).double()
    x = inputs()
    torch.testing.assert_close(Residual(norm, "pre", 0.0)(x, sublayer), x + sublayer(norm(x)))


def test_dropout_is_on_the_sublayer_not_on_the_stream() -> None:
    """A cell of the sublayer's output is dropped or doubled; the residual stream passes as it is."""
    torch.manual_seed(0)
    residual = Residual(nn.Identity(), "pre", 0.5)
    x = torch.randn(4, 16, 16)
    added = residual(x, torch.ones_like) - x
    dropped = added.abs() < 1e-6
    assert 0.4 < float(dropped.float().mean()) < 0.6
    torch.testing.assert_close(added[~dropped], torch.full_like(added[~dropped], 2.0))
    torch.testing.assert_close(residual.eval()(x, torch.ones_like), x + 1)
