"""Every combination of options builds, runs and trains every parameter."""

from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import ModelConfig, load_config, shipped_configs
from stepwise_core.config.schema import (
    Activation,
    AttentionPath,
    Initialization,
    Norm,
    NormPosition,
    Positions,
    Tying,
)
from stepwise_core.models import Transformer, build_model, count_parameters

V = 12
CHOICES: dict[str, tuple[Any, ...]] = {
    "positions": get_args(Positions),
    "norm": get_args(Norm),
    "norm_position": get_args(NormPosition),
    "activation": get_args(Activation),
    "tie_weights": get_args(Tying),
    "initialization": get_args(Initialization),
    "attention": get_args(AttentionPath),
    "bias": (True, False),
    "scale_embeddings": (True, False),
    "n_kv_heads": (None, 1, 2),
    "n_encoder_layers": (None, 2),
    "attention_dropout": (0.0, 0.3),
}
combinations = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in CHOICES.items()})


def assert_trains(model: Transformer) -> None:
    """One backward pass reaches every parameter with a finite gradient that is not zero."""
    source, target = torch.randint(4, V, (3, 6)), torch.randint(4, V, (3, 5))
    logits = model(source, target, AttentionMask.from_lengths(torch.tensor([6, 4, 1]), 6))
    assert logits.shape == (3, 5, V)
    F.cross_entropy(logits.flatten(0, 1), torch.randint(4, V, (15,))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # Adding the same to all scores leaves softmax as it was: unless keys are rotated, their bias has no effect.
        if not name.endswith("key_projection.bias"):
            assert parameter.grad.abs().max() > 0, name


@settings(max_examples=60, deadline=None)
@given(options=combinations)
def test_every_parameter_learns_whatever_the_options(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = ModelConfig(d_model=16, n_heads=2, n_layers=1, max_length=8, **options)
    assert_trains(build_model(config, V, V))


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, choices in CHOICES.items() for value in choices]
)
@pytest.mark.parametrize("preset", ["paper", "modern"])
def test_each_option_on_top_of_each_preset(preset: str, key: str, value: Any) -> None:
    small = ["model.d_model=16", "model.n_heads=2", "model.n_layers=1", "model.max_length=8"]
    given = f"model.{key}={'null' if value is None else value}"
    overrides = [f"preset={preset}", *small, "tokenizer.shared=true", given]
    torch.manual_seed(0)
    assert_trains(build_model(load_config(None, overrides, environ={}).config.model, V, V))


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_build(name: str) -> None:
    config = load_config(name, environ={}).config
    with torch.device("meta"):
        model = build_model(config.model, 100, 100)
    assert 0 < count_parameters(model) < 5_000_000
