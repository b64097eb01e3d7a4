"""Streams of chance: each its own, each a function of its counters and of nothing that happened before."""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.training.randomness import seed_torch, stream_seed


def draw(seed: int, stream: str, *counters: int) -> torch.Tensor:
    seed_torch(seed, stream, *counters)
    return torch.rand(1_000)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.text(max_size=10), st.lists(st.integers(0, 10**9), max_size=3))
def test_seeds_fit_torch_and_numpy(seed: int, stream: str, counters: list[int]) -> None:
    assert 0 <= stream_seed(seed, stream, *counters) < 2**63


def test_the_seeds_are_these() -> None:
    """Computed once: another formula would make every old run resume with other dropout."""
    assert stream_seed(0, "dropout", 1, 0) == 4_063_489_044_773_556_757
    assert stream_seed(42, "initial weights") == 1_024_381_255_082_744_115


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = draw(0, "dropout", 7, 1)
    torch.rand(12_345)
    assert torch.equal(draw(0, "dropout", 7, 1), first)


def test_streams_seeds_and_counters_differ_and_are_uncorrelated() -> None:
    places = [(0, "dropout", 1, 0), (0, "dropout", 0, 1), (0, "dropout", 1, 1), (0, "dropout", 11),
              (0, "initial weights", 1, 0), (1, "dropout", 1, 0), (0, "dropout", 2, 0)]  # fmt: skip
    drawn = torch.stack([draw(*place) for place in places])
    correlations = torch.corrcoef(drawn) - torch.eye(len(places))
    assert float(correlations.abs().max()) < 0.15  # about 4.7 standard deviations of 1 000 numbers


def test_neighbouring_steps_have_unrelated_seeds() -> None:
    seeds = [stream_seed(0, "dropout", step, 0) for step in range(2_000)]
    assert len(set(seeds)) == 2_000
    differing_bits = [(a ^ b).bit_count() for a, b in pairwise(seeds)]
    assert 30 < sum(differing_bits) / len(differing_bits) < 33  # half of 63
