"""Initial weights: the spread of each scheme, and how scaled_normal follows the depth."""

import math

import pytest
import torch
from torch import Tensor, nn

from stepwise_core.config import ModelConfig
from stepwise_core.models import Transformer, build_model

V = 400


def model(scheme: str, **options: object) -> Transformer:
    torch.manual_seed(0)
    values = {"d_model": 64, "n_heads": 4, "n_layers": 1, "tie_weights": "none", **options}
    return build_model(ModelConfig.model_validate({"initialization": scheme, **values}), V, V)


def assert_normal(weight: Tensor, std: float) -> None:
    """Mean 0, the given standard deviation, and 68 % within one of it: enough to tell normal from uniform."""
    weight = weight.detach()
    assert abs(float(weight.mean())) < 0.1 * std
    assert float(weight.std()) == pytest.approx(std, rel=0.05)
    assert float((weight.abs() < std).float().mean()) == pytest.approx(0.683, abs=0.03)


def matrices(of: nn.Module) -> dict[str, Tensor]:
    return {
        name: module.weight.detach() for name, module in of.named_modules() if isinstance(module, nn.Linear)
    }


def test_xavier_uniform_fills_its_interval() -> None:
    made = model("xavier_uniform")
    for weight in matrices(made).values():
        bound = math.sqrt(6 / sum(weight.shape))
        assert float(weight.abs().max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert_normal(made.source_embedding.tokens.weight, 64**-0.5)


def test_normal_is_the_same_everywhere() -> None:
    made = model("normal")
    for weight in [*matrices(made).values(), made.target_embedding.tokens.weight]:
        assert_normal(weight, 0.02)


@pytest.mark.parametrize(
    ("layers", "n_sublayers"),
    [
        ({"n_layers": 1}, 3),  # the decoder's three
        ({"n_layers": 5}, 15),
        ({"n_layers": 1, "n_encoder_layers": 6}, 12),  # a deep encoder: its two in each layer
    ],
)
def test_scaled_normal_shrinks_with_depth(layers: dict[str, int], n_sublayers: int) -> None:
    """What writes to the residual stream starts smaller the more of them there are; nothing else does."""
    made = model("scaled_normal", **layers)
    for name, weight in matrices(made).items():
        writes = name.endswith(".output_projection")  # not the model's own, which writes logits
        std = weight.shape[1] ** -0.5 / (math.sqrt(n_sublayers) if writes else 1.0)
        assert_normal(weight, std)
    assert_normal(made.source_embedding.tokens.weight, 64**-0.5)
    assert_normal(made.output_projection.weight, 64**-0.5)


def test_scaled_normal_keeps_the_residual_stream_at_its_size() -> None:
    """Twelve layers deep the stream is as wide as after one; with unscaled matrices it would not be."""
    spread = {}
    for n_layers in (1, 12):
        made = model(
            "scaled_normal", n_layers=n_layers, norm_position="pre", dropout=0.0, scale_embeddings=False
        )
        made.encoder.norm = nn.Identity()
        memory = made.encode(torch.randint(4, V, (4, 12)))
        spread[n_layers] = float(memory.detach().std())
    assert spread[12] < 1.5 * spread[1]


@pytest.mark.parametrize("scheme", ["xavier_uniform", "normal", "scaled_normal"])
def test_biases_start_at_zero_and_norms_at_one(scheme: str) -> None:
    made = model(scheme, positions="learned", norm_position="pre")
    for name, parameter in made.named_parameters():
        if name.endswith(".bias"):
            assert (parameter == 0).all()
        elif "norm" in name:
            assert (parameter == 1).all()
    table = made.source_embedding.positions.get_parameter("table")
    assert_normal(table, 0.02)


def test_the_seed_decides() -> None:
    config = ModelConfig(d_model=16, n_heads=2, n_layers=1)
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(build_model(config, V, V).encoder.state_dict())
    name = "layers.0.feed_forward.inner_projection.weight"
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])
