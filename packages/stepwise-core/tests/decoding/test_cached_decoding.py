"""Decoding with a key-value cache gives what decoding without it gives, whatever the model."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.decoding.search import Hypothesis, beam_search, greedy_search
from stepwise_core.models import Transformer, build_model

V = 10

models = st.fixed_dictionaries(
    {
        "positions": st.sampled_from(["sinusoidal", "learned", "rotary"]),
        "norm": st.sampled_from(["layernorm", "rmsnorm"]),
        "norm_position": st.sampled_from(["pre", "post"]),
        "tie_weights": st.sampled_from(["none", "decoder", "all"]),
        "n_kv_heads": st.sampled_from([None, 1, 2]),
        "attention": st.sampled_from(["fast", "reference"]),
    }
)
sentence_lengths = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def make_model(seed: int = 0, max_length: int = 16, **options: Any) -> Transformer:
    """A model with large random weights, so that it has opinions and its outputs have many lengths."""
    torch.manual_seed(seed)
    values = {"d_model": 16, "n_heads": 4, "n_layers": 2, "max_length": max_length, **options}
    model = build_model(ModelConfig.model_validate(values), V, V).double().eval()
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.decoder.parameters()]:
            parameter *= 2 if parameter.dim() > 1 else 1
        model.output_projection.weight *= 3
    return model


def ragged(lengths: list[int], seed: int = 0) -> tuple[Tensor, AttentionMask]:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(3, V, (len(lengths), max(lengths)), generator=generator)
    mask = AttentionMask.from_lengths(torch.tensor(lengths), max(lengths))
    return (source if mask.key_is_real is None else source * mask.key_is_real), mask


@settings(max_examples=40, deadline=None)
@given(
    options=models,
    lengths=sentence_lengths,
    steps=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    capacity=st.integers(1, 8),
)
@torch.no_grad()
def test_logits_are_the_same_in_steps_of_any_size(
    options: dict[str, Any], lengths: list[int], steps: list[int], capacity: int
) -> None:
    model = make_model(**options)
    source, mask = ragged(lengths)
    target = torch.randint(3, V, (len(lengths), sum(steps)))
    cache = model.new_cache(capacity)
    memory = model.encode(source, mask)
    parts = [model.decode(part, memory, mask, cache) for part in target.split(steps, dim=1)]
    expected = model(source, target, mask)
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-10, atol=1e-11)


def assert_same(one: list[Hypothesis], other: list[Hypothesis]) -> None:
    assert [found.tokens for found in one] == [found.tokens for found in other]
    for found, expected in zip(one, other, strict=True):
        assert found.log_probability == pytest.approx(expected.log_probability, rel=1e-5, abs=1e-6)
        assert found.score == pytest.approx(expected.score, rel=1e-5, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    options=models,
    seed=st.integers(0, 1000),
    lengths=sentence_lengths,
    beam_size=st.integers(1, 4),
    alpha=st.sampled_from([0.0, 0.6]),
)
def test_searches_find_the_same(
    options: dict[str, Any], seed: int, lengths: list[int], beam_size: int, alpha: float
) -> None:
    model = make_model(seed, **options)
    source, mask = ragged(lengths, seed)
    limits = [2 * length for length in lengths]  # sentences end at different steps
    found = []
    for use_cache in (True, False):
        common: dict[str, Any] = {"max_lengths": limits, "use_cache": use_cache}
        greedy = greedy_search(model, source, mask, **common)
        beams = beam_search(model, source, mask, beam_size=beam_size, alpha=alpha, n_best=beam_size, **common)
        found.append([greedy, *beams])
    for cached, uncached in zip(*found, strict=True):
        assert_same(cached, uncached)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_long_outputs_outgrow_the_first_reservation(positions: str) -> None:
    """Eighty tokens; the cache reserves 32 at first."""
    model = make_model(1, max_length=96, positions=positions, tie_weights="none")
    source, mask = ragged([3, 2])
    with torch.no_grad():  # a translation that never ends: the end mark's score is the opposite of another's
        model.output_projection.weight[2] = -model.output_projection.weight[5]
    cached, uncached = (
        greedy_search(model, source, mask, max_lengths=[80, 80], use_cache=use_cache)
        for use_cache in (True, False)
    )
    assert max(len(found.tokens) for found in cached) > 64
    assert_same(cached, uncached)
