"""The key-value cache: what went in comes out, in order, however often it grew."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.attention_cache import KeyValueCache
from stepwise_core.components.masks import CAUSAL, AttentionMask
from stepwise_core.components.positional_encoding import RotaryEncoding


def pieces(lengths: list[int]) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.randn(2, 3, 2, length, 4, generator=generator)) for length in lengths]  # type: ignore[misc]


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), capacity=st.integers(1, 12))
def test_all_positions_so_far_come_back(lengths: list[int], capacity: int) -> None:
    cache = KeyValueCache(capacity=capacity)
    parts = pieces(lengths)
    for number, (keys, values) in enumerate(parts, start=1):
        all_keys, all_values = cache.append(keys, values)
        torch.testing.assert_close(all_keys, torch.cat([part[0] for part in parts[:number]], dim=2))
        torch.testing.assert_close(all_values, torch.cat([part[1] for part in parts[:number]], dim=2))
        assert cache.length == sum(lengths[:number])
        assert not cache.is_complete
    assert torch.equal(cache.stored()[0], all_keys)


def test_select_keeps_and_repeats_sequences() -> None:
    cache = KeyValueCache(capacity=2)
    (first, second) = pieces([2, 1])
    cache.append(*first)
    cache.select(torch.tensor([2, 0, 0, 1]))
    keys, values = cache.append(*(x[[0, 1, 2, 2]] for x in second))
    torch.testing.assert_close(keys, torch.cat([first[0][[2, 0, 0, 1]], second[0][[0, 1, 2, 2]]], dim=2))
    torch.testing.assert_close(values, torch.cat([first[1][[2, 0, 0, 1]], second[1][[0, 1, 2, 2]]], dim=2))


def test_a_fixed_cache_is_filled_once() -> None:
    cache = KeyValueCache(fixed=True)
    assert not cache.is_complete
    with pytest.raises(ValueError, match="empty"):
        cache.stored()
    keys, values = pieces([3])[0]
    cache.append(keys, values)
    assert cache.is_complete
    assert torch.equal(cache.stored()[0], keys)
    assert torch.equal(cache.stored()[1], values)


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("fast", [True, False])
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=5))
@torch.no_grad()
def test_attention_in_pieces_is_attention_at_once(rotary: bool, fast: bool, lengths: list[int]) -> None:
    torch.manual_seed(0)
    encoding = RotaryEncoding(4, 32) if rotary else None
    attention = MultiHeadAttention(8, 2, n_kv_heads=1, rotary=encoding, fast=fast).double()
    x = torch.randn(2, sum(lengths), 8, dtype=torch.float64)
    cache = KeyValueCache(capacity=1)
    parts = [attention(part, part, CAUSAL, cache) for part in x.split(lengths, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), attention(x, x, CAUSAL))


@torch.no_grad()
def test_cross_attention_reads_the_stored_source() -> None:
    """After the first step the source is not looked at again: garbage in its place changes nothing."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2)
    target, source = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    mask = AttentionMask.from_lengths(torch.tensor([5, 3]), 5)
    cache = KeyValueCache(fixed=True)
    first = attention(target[:, :1], source, mask, cache)
    later = attention(target[:, 1:], torch.full_like(source, torch.nan), mask, cache)
    torch.testing.assert_close(torch.cat([first, later], dim=1), attention(target, source, mask))
