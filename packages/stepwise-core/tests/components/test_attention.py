"""Attention: the paper's equation, several heads, the weights that a picture shows, and dropout."""

import math

import pytest
import torch
from torch import Tensor

from stepwise_core.components.attention import (
    MultiHeadAttention,
    attention_weights,
    fast_attention,
    reference_attention,
)
from stepwise_core.components.masks import CAUSAL, EVERYTHING, AttentionMask
from stepwise_core.components.positional_encoding import RotaryEncoding

PADDING = AttentionMask(torch.tensor([[True, True, True, False, False], [True] * 5]))
MASKS = {"none": EVERYTHING, "causal": CAUSAL, "padding": PADDING}
MASKS["both"] = AttentionMask(PADDING.key_is_real, causal=True)


def test_the_papers_equation_by_hand() -> None:
    """One head of width 4: scores 4 and 0, halved by sqrt(4); softmax(2, 0) weighs the two values."""
    queries = torch.tensor([[[[2.0, 0, 0, 0]]]])  # (B, H, Q, d)
    keys = torch.tensor([[[[2.0, 0, 0, 0], [0, 0, 0, 1.0]]]])  # (B, H, K, d)
    values = torch.tensor([[[[10.0], [20.0]]]])
    first = math.exp(2) / (math.exp(2) + 1)
    torch.testing.assert_close(attention_weights(queries, keys), torch.tensor([[[[first, 1 - first]]]]))
    expected = torch.tensor([[[[10 * first + 20 * (1 - first)]]]])
    torch.testing.assert_close(reference_attention(queries, keys, values), expected)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("n_kv_heads", [1, 4])
def test_weights_are_those_the_forward_used(
    fast: bool, mask: AttentionMask, rotary: bool, n_kv_heads: int
) -> None:
    """The recomputed map, applied to the values, is the output."""
    torch.manual_seed(0)
    encoding = RotaryEncoding(4, 8) if rotary else None
    attention = MultiHeadAttention(16, 4, n_kv_heads=n_kv_heads, rotary=encoding, dropout=0.5, fast=fast)
    attention.double().eval()
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    weights = attention.weights(x, x, mask)  # (B, H, Q, K)
    assert weights.shape == (2, 4, 5, 5)
    values = attention.value_projection(x).view(2, 5, n_kv_heads, 4).transpose(1, 2)  # (B, G, K, d)
    heads = weights @ values.repeat_interleave(4 // n_kv_heads, dim=1)  # (B, H, Q, d)
    expected = attention.output_projection(heads.transpose(1, 2).reshape(2, 5, 16))
    torch.testing.assert_close(attention(x, x, mask), expected)


def test_each_head_is_an_attention_in_its_own_projection() -> None:
    """MultiHead(Q, K, V) = Concat(head_1, …, head_h) W^O (paper, section 3.2.2), head by head."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(12, 3, bias=False).double()
    looking, looked_at = torch.randn(2, 4, 12).double(), torch.randn(2, 6, 12).double()
    heads = []
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        queries = looking @ attention.query_projection.weight[rows].T  # (B, Q, d)
        keys = looked_at @ attention.key_projection.weight[rows].T
        values = looked_at @ attention.value_projection.weight[rows].T
        heads.append((queries @ keys.mT / math.sqrt(4)).softmax(-1) @ values)
    expected = torch.cat(heads, dim=-1) @ attention.output_projection.weight.T
    torch.testing.assert_close(attention(looking, looked_at), expected)


def test_grouped_query_module_is_a_full_one_with_repeated_projections() -> None:
    torch.manual_seed(0)
    grouped, full = MultiHeadAttention(16, 4, n_kv_heads=2), MultiHeadAttention(16, 4)
    state = grouped.state_dict()
    for name in ("key_projection", "value_projection"):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        state[f"{name}.weight"] = weight.view(2, 4, 16).repeat_interleave(2, dim=0).reshape(16, 16)
        state[f"{name}.bias"] = bias.view(2, 4).repeat_interleave(2, dim=0).reshape(16)
    full.load_state_dict(state)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(grouped(x, x, CAUSAL), full(x, x, CAUSAL))


def test_a_causal_query_is_aligned_with_the_last_key() -> None:
    """With fewer queries than keys, as in decoding, the queries are the last positions."""
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(1, 2, 5, 4) for _ in range(3))
    for attend in (fast_attention, reference_attention):
        whole = attend(queries, keys, values, CAUSAL)
        last_two = attend(queries[:, :, 3:], keys, values, CAUSAL)
        torch.testing.assert_close(last_two, whole[:, :, 3:])


def dropped_weights(fast: bool, dropout: float) -> Tensor:
    """The weights as dropout left them: with the identity as values, the output is the weights."""
    torch.manual_seed(0)
    n_keys = 64
    queries, keys = torch.zeros(8, 4, n_keys, 64), torch.zeros(8, 4, n_keys, 64)  # every weight is 1/64
    values = torch.eye(n_keys).expand(8, 4, n_keys, 64)
    attend = fast_attention if fast else reference_attention
    return attend(queries, keys, values, dropout=dropout) * n_keys


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout_takes_its_part_of_the_weights_and_scales_the_rest(fast: bool, dropout: float) -> None:
    weights = dropped_weights(fast, dropout)  # 131 072 weights: the part dropped is within 0.01 of the rate
    dropped = weights == 0
    assert float(dropped.float().mean()) == pytest.approx(dropout, abs=0.01)
    torch.testing.assert_close(weights[~dropped], torch.full_like(weights[~dropped], 1 / (1 - dropout)))


@pytest.mark.parametrize("fast", [True, False])
def test_dropout_works_in_training_only(fast: bool) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(16, 4, dropout=0.5, fast=fast)
    x = torch.randn(2, 6, 16)
    assert not torch.equal(attention(x, x), attention(x, x))
    attention.eval()
    assert torch.equal(attention(x, x), attention(x, x))
    attention.train()
    torch.manual_seed(1)
    first = attention(x, x)
    torch.manual_seed(1)
    assert torch.equal(attention(x, x), first)
