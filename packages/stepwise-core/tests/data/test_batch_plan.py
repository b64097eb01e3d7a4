"""The plan of batches: every example once, little padding, and a function of seed and epoch alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from stepwise_core.data.batches import BatchPlan, EncodedSplit, collate, fixed_batches


def split_of(source_lengths: ArrayLike, target_lengths: ArrayLike) -> EncodedSplit:
    """Return a split whose sequences have the given lengths; the tokens do not matter."""
    source = np.concatenate(([0], np.cumsum(source_lengths, dtype=np.int64)))
    target = np.concatenate(([0], np.cumsum(target_lengths, dtype=np.int64)))
    return EncodedSplit(np.full(source[-1], 4, np.int32), source, np.full(target[-1], 5, np.int32), target)


def like_text(n: int, seed: int = 0) -> EncodedSplit:
    """Return a split with lengths as in captions and their translations: correlated, skewed."""
    rng = np.random.default_rng(seed)
    source = np.clip(rng.lognormal(2.7, 0.33, n), 4, 60)
    target = np.clip(source * rng.lognormal(0.02, 0.2, n), 3, 70)
    return split_of(source.astype(int), target.astype(int))


lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=60)
units = st.sampled_from(["examples", "tokens"])


@settings(max_examples=150, deadline=None)
@given(lengths, st.integers(1, 90), units, st.integers(0, 2**40), st.integers(0, 1000))
def test_every_example_is_in_exactly_one_batch(
    pairs: list[tuple[int, int]], batch_size: int, batch_by: str, seed: int, epoch: int
) -> None:
    split = split_of(*zip(*pairs, strict=True))
    plan = BatchPlan(split, batch_size=batch_size, batch_by=batch_by, seed=seed)  # type: ignore[arg-type]
    batches = plan.epoch(epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(pairs)))
    assert len(batches) == len(plan.epoch(epoch + 1))  # schedules count on it
    for batch in batches:
        longest = max(pairs[index][0] for index in batch) + max(pairs[index][1] for index in batch)
        if batch_by == "examples":
            assert 1 <= len(batch) <= batch_size
        else:
            assert len(batch) * longest <= batch_size or len(batch) == 1


def test_an_example_above_the_budget_is_a_batch_of_its_own() -> None:
    plan = BatchPlan(split_of([5, 50, 5], [5, 50, 5]), batch_size=20, batch_by="tokens", seed=0)
    assert sorted(plan.epoch(0), key=len) == [(1,), *[batch for batch in plan.epoch(0) if len(batch) == 2]]


def test_the_budget_counts_the_longest_of_this_batch_alone() -> None:
    split = split_of([50] * 4 + [1] * 4, [1] * 4 + [50] * 4)
    plan = BatchPlan(split, batch_size=4 * 51, batch_by="tokens", seed=0)
    assert {frozenset(batch) for batch in plan.epoch(0)} == {frozenset(range(4)), frozenset(range(4, 8))}


def test_the_plan_is_a_function_of_seed_and_epoch() -> None:
    split = like_text(2_000)
    plan = BatchPlan(split, batch_size=32, batch_by="examples", seed=7)
    third = plan.epoch(3)
    plan.epoch(0)
    assert plan.epoch(3) == third
    assert BatchPlan(split, batch_size=32, batch_by="examples", seed=7).epoch(3) == third
    assert plan.epoch(4) != third
    assert BatchPlan(split, batch_size=32, batch_by="examples", seed=8).epoch(3) != third


def test_batches_come_in_random_order_and_with_new_neighbours() -> None:
    split = like_text(2_000)
    plan = BatchPlan(split, batch_size=32, batch_by="examples", seed=0)
    first, second = plan.epoch(0), plan.epoch(1)
    means = [np.mean(split.source_lengths[list(batch)]) for batch in first]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4
    together = {frozenset(batch) for batch in first}
    assert len(together & {frozenset(batch) for batch in second}) < len(first) / 4


@pytest.mark.parametrize(("batch_size", "batch_by"), [(128, "examples"), (4096, "tokens")])
def test_little_of_a_batch_is_padding(batch_size: int, batch_by: str) -> None:
    split = like_text(20_000)
    plan = BatchPlan(split, batch_size=batch_size, batch_by=batch_by, seed=0)  # type: ignore[arg-type]
    assert plan.padding_ratio(0) < 0.05
    unsorted = np.random.default_rng(0).permutation(20_000).reshape(-1, 125)
    random = [collate(split, tuple(batch)) for batch in unsorted.tolist()]
    assert 1 - sum(batch.n_tokens for batch in random) / sum(batch.n_padded for batch in random) > 0.3


def test_the_padding_ratio_is_that_of_the_batches() -> None:
    split = like_text(1_000)
    plan = BatchPlan(split, batch_size=500, batch_by="tokens", seed=0)
    batches = [collate(split, indices) for indices in plan.epoch(2)]
    useful = sum(batch.n_tokens for batch in batches)
    cells = sum(batch.n_padded for batch in batches)
    assert plan.padding_ratio(2) == pytest.approx(1 - useful / cells)
    assert BatchPlan(split, batch_size=1, batch_by="examples", seed=0).padding_ratio(0) == 0


def test_batches_for_evaluation_are_fixed_by_length_and_can_be_put_back_in_order() -> None:
    split = like_text(1_000)
    batches = fixed_batches(split, 64)
    assert batches == fixed_batches(split, 64)
    assert sorted(index for batch in batches for index in batch) == list(range(1_000))
    assert [len(batch) for batch in batches] == [64] * 15 + [40]
    longer = np.maximum(split.source_lengths, split.target_lengths)
    order = [index for batch in batches for index in batch]
    assert np.all(np.diff(longer[order]) >= 0)
