"""The optimiser: what decays and what does not, with the settings of each preset."""

import pytest
import torch
from torch import nn

from stepwise_core.config import load_config
from stepwise_core.models import Transformer, build_model
from stepwise_core.training.optimizer import build_optimizer

SMALL = ("model.d_model=16", "model.n_heads=2", "model.n_layers=1", "model.max_length=16")
CPU = torch.device("cpu")


def build(*changes: str) -> tuple[Transformer, torch.optim.AdamW]:
    config = load_config(None, [*SMALL, *changes], environ={}).config
    model = build_model(config.model, 20, 20)
    return model, build_optimizer(model, config.training, CPU)


def names_by_decay(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[float, set[str]]:
    """Return {weight decay: names of the parameters that get it}."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[float, set[str]] = {}
    for group in optimizer.param_groups:
        found.setdefault(group["weight_decay"], set()).update(names[id(p)] for p in group["params"])
    return found


@pytest.mark.parametrize(
    ("preset", "betas", "eps", "decay"),
    [("paper", (0.9, 0.98), 1e-9, 0.0), ("modern", (0.9, 0.95), 1e-8, 0.01)],
)
def test_presets_configure_adamw(preset: str, betas: tuple[float, float], eps: float, decay: float) -> None:
    _, optimizer = build(f"preset={preset}")
    assert type(optimizer) is torch.optim.AdamW
    for group in optimizer.param_groups:
        assert (group["betas"], group["eps"]) == (betas, eps)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {decay, 0.0}


@pytest.mark.parametrize("tying", ["none", "decoder", "all"])
def test_only_matrices_of_linear_layers_decay(tying: str) -> None:
    settings = ["training.weight_decay=0.3", f"model.tie_weights={tying}", "model.positions=learned"]
    model, optimizer = build(*settings)
    found = names_by_decay(model, optimizer)
    everything = {name for name, _ in model.named_parameters()}
    assert found[0.3] | found[0.0] == everything
    assert not found[0.3] & found[0.0]
    matrices = {name for name in everything if name.endswith("weight") and "norm" not in name}
    expected = {name for name in matrices if "embedding" not in name}
    assert found[0.3] == expected
    assert ("output_projection.weight" in found[0.3]) is (tying == "none")
    assert {"source_embedding.positions.table", "encoder.layers.0.self_attention.query_projection.bias",
            "decoder.layers.0.feed_forward_residual.norm.weight"} <= found[0.0]  # fmt: skip


def test_without_gradient_a_step_only_decays_and_by_the_learning_rate() -> None:
    """Decoupled decay: w <- w - rate * decay * w (Loshchilov and Hutter, 2019)."""
    model, optimizer = build("training.weight_decay=0.5", "training.learning_rate=0.1")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = names_by_decay(model, optimizer)[0.5]
    for name, parameter in model.named_parameters():
        expected = before[name] * (0.95 if name in decayed else 1.0)
        torch.testing.assert_close(parameter.detach(), expected)


def test_with_weight_decay_zero_it_is_the_papers_adam() -> None:
    """Section 5.3; compared with torch's Adam over three steps of random gradients."""
    model, optimizer = build("preset=paper", "training.learning_rate=0.01")
    other, _ = build("preset=paper")
    other.load_state_dict(model.state_dict())
    adam = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.9, 0.98), eps=1e-9)
    for seed in range(3):
        for own, twin in zip(model.parameters(), other.parameters(), strict=True):
            own.grad = torch.randn(own.shape, generator=torch.Generator().manual_seed(seed))
            twin.grad = own.grad.clone()
        optimizer.step()
        adam.step()
    for own, twin in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, twin)
