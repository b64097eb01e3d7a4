"""Positions: the paper's waves computed one by one, learned vectors, rotation, and the position limit."""

import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.masks import CAUSAL
from stepwise_core.components.positional_encoding import (
    LearnedEncoding,
    NoEncoding,
    RotaryEncoding,
    SinusoidalEncoding,
)

MAX_LENGTH = 300


@pytest.mark.parametrize("d_model", [2, 6, 64])
def test_sinusoidal_is_the_papers_equation(d_model: int) -> None:
    added = SinusoidalEncoding(d_model, MAX_LENGTH)(torch.zeros(1, MAX_LENGTH, d_model))[0]  # (L, D)
    for position in (0, 1, 2, 17, MAX_LENGTH - 1):
        for i in range(d_model // 2):
            angle = position / 10_000 ** (2 * i / d_model)
            assert float(added[position, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(added[position, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_is_neither_learned_nor_saved() -> None:
    encoding = SinusoidalEncoding(8, 16)
    assert not list(encoding.parameters())
    assert not encoding.state_dict()


def test_learned_adds_a_vector_per_position() -> None:
    encoding = LearnedEncoding(4, 6)
    nn.init.normal_(encoding.table)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(encoding(x), x + encoding.table[:3])
    torch.testing.assert_close(encoding(x, start=2), x + encoding.table[2:5])
    encoding(x, start=2).sum().backward()
    assert encoding.table.grad is not None
    assert encoding.table.grad.abs().sum(dim=1).bool().tolist() == [False, False, True, True, True, False]


def test_without_encoding_nothing_changes() -> None:
    x = torch.randn(2, 3, 4)
    assert torch.equal(NoEncoding()(x, start=5), x)


@pytest.mark.parametrize("d_head", [2, 8])
def test_rotary_turns_pairs_like_complex_numbers(d_head: int) -> None:
    """x_i + j x_(i + d/2), times exp(j pos / 10000^(2i/d)) (Su et al., 2021, equation 34)."""
    x = torch.randn(1, 1, 40, d_head, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = RotaryEncoding(d_head, 64)(x, start=3)[0, 0]
    half = d_head // 2
    for row in (0, 1, 39):
        for i in range(half):
            pair = complex(x[0, 0, row, i], x[0, 0, row, i + half])
            expected = pair * cmath.exp(1j * (row + 3) / 10_000 ** (2 * i / d_head))
            assert complex(turned[row, i], turned[row, i + half]) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    at=st.integers(0, 99),
    to=st.integers(0, 99),
    shift=st.integers(1, 150),
    seed=st.integers(0, 1000),
)
def test_rotary_scores_depend_on_distance_only(at: int, to: int, shift: int, seed: int) -> None:
    """A query at m and a key at n score what they score at m + s and n + s, and turning changes no length."""
    rotary = RotaryEncoding(8, 256).double()
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64, generator=generator)
    here = (rotary(query, at) * rotary(key, to)).sum()
    there = (rotary(query, at + shift) * rotary(key, to + shift)).sum()
    torch.testing.assert_close(here, there, rtol=0, atol=1e-4)  # the tables are float32
    if at == to:
        torch.testing.assert_close(here, (query * key).sum(), rtol=0, atol=1e-4)
    torch.testing.assert_close(rotary(query, at).norm(), query.norm(), rtol=1e-6, atol=0)


def test_rotary_scores_do_depend_on_distance() -> None:
    rotary = RotaryEncoding(8, 64)
    query = key = torch.ones(1, 1, 1, 8)
    scores = [float((rotary(query, at) * rotary(key, 10)).sum()) for at in (10, 11, 14, 30)]
    assert len({round(score, 3) for score in scores}) == 4
    assert scores[0] == max(scores)


@pytest.mark.parametrize("rotary", [True, False])
def test_attention_knows_the_order_only_by_rotation(rotary: bool) -> None:
    """Without positions, the last query does not notice that earlier keys have changed places."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2, rotary=RotaryEncoding(4, 8) if rotary else None)
    x = torch.randn(1, 5, 8)
    mixed = x[:, [2, 0, 3, 1, 4]]
    same = torch.allclose(attention(x, x, CAUSAL)[:, -1], attention(mixed, mixed, CAUSAL)[:, -1], atol=1e-6)
    assert same is not rotary


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [
        (SinusoidalEncoding(8, 6), (2, 4, 8)),
        (LearnedEncoding(8, 6), (2, 4, 8)),
        (RotaryEncoding(8, 6), (2, 3, 4, 8)),
    ],
)
def test_positions_beyond_the_limit_are_refused(encoding: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)  # four positions
    assert encoding(x, 2).shape == shape  # positions 2 to 5: the last ones that fit
    with pytest.raises(ValueError, match=r"position 7 is beyond the limit model\.max_length = 6"):
        encoding(x, 3)
