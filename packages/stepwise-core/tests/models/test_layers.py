"""Encoder and decoder layers: the equations of the paper's figure 1, before and after the norm."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepwise_core.components.masks import CAUSAL, AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.models.transformer_layers import Decoder, DecoderLayer, Encoder, EncoderLayer

MASK = AttentionMask(torch.tensor([[True, True, True, True], [True, True, False, False]]))


def config(**options: Any) -> ModelConfig:
    values = {"d_model": 16, "n_heads": 4, "n_layers": 2, "dropout": 0.0, **options}
    return ModelConfig.model_validate(values)


def scramble(module: nn.Module) -> None:
    """Give every parameter a value of its own, norms and biases too."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    module.double()


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("position", ["post", "pre"])
def test_norm_position_matches_its_equation(position: str, norm: str) -> None:
    """post: norm(x + sublayer(x)); pre: x + sublayer(norm(x)); for both sublayers of an encoder layer."""
    layer = EncoderLayer(config(norm_position=position, norm=norm), rotary=None)
    scramble(layer)
    first, second = layer.self_attention_residual.norm, layer.feed_forward_residual.norm
    x = normal(2, 4, 16)

    def attend(h: Tensor) -> Tensor:
        output: Tensor = layer.self_attention(h, h, MASK)
        return output

    if position == "post":
        middle = first(x + attend(x))
        expected = second(middle + layer.feed_forward(middle))
    else:
        middle = x + attend(first(x))
        expected = middle + layer.feed_forward(second(middle))
    torch.testing.assert_close(layer(x, MASK), expected)


@pytest.mark.parametrize("position", ["post", "pre"])
def test_decoder_layer_is_masked_attention_then_cross_attention_then_feed_forward(position: str) -> None:
    layer = DecoderLayer(config(norm_position=position), rotary=None)
    scramble(layer)
    memory = normal(2, 4, 16)
    x = normal(2, 3, 16)
    steps = [
        (layer.self_attention_residual.norm, lambda h: layer.self_attention(h, h, CAUSAL)),
        (layer.cross_attention_residual.norm, lambda h: layer.cross_attention(h, memory, MASK)),
        (layer.feed_forward_residual.norm, layer.feed_forward),
    ]
    expected = x
    for norm, sublayer in steps:
        before, after = (norm, nn.Identity()) if position == "pre" else (nn.Identity(), norm)
        expected = after(expected + sublayer(before(expected)))
    torch.testing.assert_close(layer(x, memory, MASK), expected)


@pytest.mark.parametrize("position", ["post", "pre"])
def test_stacks_run_layer_after_layer_and_pre_norm_ends_with_a_norm(position: str) -> None:
    encoder = Encoder(config(norm_position=position, n_encoder_layers=3), rotary=None)
    decoder = Decoder(config(norm_position=position), rotary=None)
    scramble(encoder)
    scramble(decoder)
    source, target = normal(2, 4, 16), normal(2, 3, 16)
    memory, hidden = source, target
    for layer in encoder.layers:
        memory = layer(memory, MASK)
    for layer in decoder.layers:
        hidden = layer(hidden, source, MASK)
    if position == "pre":
        memory, hidden = encoder.norm(memory), decoder.norm(hidden)
    assert (len(encoder.layers), len(decoder.layers)) == (3, 2)
    torch.testing.assert_close(encoder(source, MASK), memory)
    torch.testing.assert_close(decoder(target, source, MASK), hidden)
    assert bool(list(encoder.norm.parameters())) is (position == "pre")


def test_layers_share_nothing() -> None:
    encoder = Encoder(config(), rotary=None)
    first, second = (dict(layer.named_parameters()) for layer in encoder.layers)
    assert all(first[name] is not second[name] for name in first)


@pytest.mark.parametrize("where", ["dropout", "attention_dropout"])
def test_dropout_is_off_in_evaluation(where: str) -> None:
    layer = DecoderLayer(config(**{where: 0.5}), rotary=None)
    torch.manual_seed(0)
    x, memory = torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    assert not torch.allclose(layer(x, memory), layer(x, memory))
    layer.eval()
    assert torch.equal(layer(x, memory), layer(x, memory))
