"""Encoding and collation: each row is what a plain loop over its example would write."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.config.schema import TokenizerConfig
from stepwise_core.data.batches import Batch, EncodedSplit, collate, encode_split
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.data.tokenizers import BOS, EOS, PAD, TokenizerPair, build_tokenizers
from stepwise_core.errors import DataError

PAIRS = [
    Example("abc", "xy"),
    Example("a", "xyzz"),
    Example("bbbb", "z"),
    Example("ca", "zzx"),
]


def tokenizers_for(pairs: Sequence[Example], shared: bool = False) -> TokenizerPair:
    dataset = Dataset("pairs", list(pairs), list(pairs), list(pairs))
    return build_tokenizers(TokenizerConfig(type="character", shared=shared), dataset)


def encode(pairs: Sequence[Example], max_length: int = 100, skip_long: bool = False) -> EncodedSplit:
    return encode_split(
        pairs, tokenizers_for(PAIRS), max_length=max_length, origin="train.en", skip_long=skip_long
    )


def padded(rows: list[list[int]]) -> list[list[int]]:
    longest = max(map(len, rows))
    return [row + [PAD] * (longest - len(row)) for row in rows]


def naive_rows(pairs: Sequence[Example]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    tokenizers = tokenizers_for(PAIRS)
    sources = [tokenizers.source.encode(pair.source) for pair in pairs]
    targets = [tokenizers.target.encode(pair.target) for pair in pairs]
    return (
        padded([[*ids, EOS] for ids in sources]),
        padded([[BOS, *ids] for ids in targets]),
        padded([[*ids, EOS] for ids in targets]),
    )


def check(batch: Batch, pairs: Sequence[Example]) -> None:
    source, target_input, target_output = naive_rows(pairs)
    assert batch.source.tolist() == source
    assert batch.target_input.tolist() == target_input
    assert batch.target_output.tolist() == target_output
    assert batch.source_lengths.tolist() == [len(pair.source) + 1 for pair in pairs]
    assert batch.target_lengths.tolist() == [len(pair.target) + 1 for pair in pairs]


def test_a_batch_by_hand() -> None:
    batch = collate(encode(PAIRS), (1, 0))
    tokenizers = tokenizers_for(PAIRS)
    a, b, c = tokenizers.source.encode("abc")
    x, y, z = tokenizers.target.encode("xyz")
    assert batch.source.tolist() == [[a, EOS, PAD, PAD], [a, b, c, EOS]]
    assert batch.target_input.tolist() == [[BOS, x, y, z, z], [BOS, x, y, PAD, PAD]]
    assert batch.target_output.tolist() == [[x, y, z, z, EOS], [x, y, EOS, PAD, PAD]]
    assert batch.indices == (1, 0)
    assert batch.n_target_tokens == 5 + 3
    assert batch.n_tokens == 5 + 3 + 2 + 4
    assert batch.n_padded == 2 * 4 + 2 * 5


letters = st.builds(Example, st.text("abc", max_size=9), st.text("xyz", max_size=9))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_batch_is_what_a_plain_loop_writes(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(letters, min_size=1, max_size=12))
    indices = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=8))
    batch = collate(encode(pairs), tuple(indices))
    check(batch, [pairs[index] for index in indices])
    for tensor in (batch.source, batch.target_input, batch.target_output, batch.source_lengths):
        assert tensor.dtype == torch.int64
    assert batch.n_tokens == int((batch.source != PAD).sum() + (batch.target_output != PAD).sum())
    assert batch.n_target_tokens == int((batch.target_output != PAD).sum())
    assert batch.n_padded == batch.source.numel() + batch.target_output.numel()


def test_on_another_device_the_lengths_stay_on_the_cpu() -> None:
    batch = collate(encode(PAIRS), (0, 1, 2))
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in (moved.source, moved.target_input, moved.target_output)} == {
        "meta"
    }
    assert moved.source_lengths.device.type == moved.target_lengths.device.type == "cpu"
    assert (moved.n_tokens, moved.n_padded, moved.indices) == (batch.n_tokens, batch.n_padded, (0, 1, 2))


def test_a_split_is_flat_and_complete() -> None:
    split = encode(PAIRS * 4_000)  # more than are encoded in one go
    assert len(split) == 16_000
    assert split.n_skipped == 0
    assert split.source_ids.dtype == split.target_ids.dtype == np.int32
    assert split.source_lengths.tolist()[:4] == [4, 2, 5, 3]
    assert split.target_lengths.tolist()[-4:] == [3, 5, 2, 4]
    assert len(split.source_ids) == 4_000 * (4 + 2 + 5 + 3)
    check(collate(split, (15_996, 3)), [PAIRS[0], PAIRS[3]])


@pytest.mark.parametrize(
    ("pair", "side", "length"),
    [(Example("aaaa", "x"), "source 'aaaa'", 5), (Example("a", "xxxxx"), "target 'xxxxx'", 6)],
)
def test_a_sequence_longer_than_the_limit_is_named(pair: Example, side: str, length: int) -> None:
    """The end mark counts: four letters need five positions."""
    assert len(encode([Example("aaa", "x")], max_length=4)) == 1
    with pytest.raises(DataError) as caught:
        encode([Example("a", "x"), pair], max_length=4)
    message = str(caught.value)
    assert message == (
        f"train.en, example 2: the {side} has {length} tokens with the end mark, the limit is 4"
    )
    assert f"model.max_length to {length}" in (caught.value.hint or "")
    assert "data.parallel.skip_long" in (caught.value.hint or "")
    assert caught.value.exit_code == 6


def test_the_number_of_a_late_example_counts_from_the_start() -> None:
    with pytest.raises(DataError, match=r"train.en, example 12345: "):
        encode([*[Example("a", "x")] * 12_344, Example("aaaa", "x")], max_length=4)


def test_a_long_sentence_is_quoted_by_its_beginning_on_one_line() -> None:
    with pytest.raises(DataError) as caught:
        encode([Example("abc" * 100, "x")], max_length=20)
    assert f"'{('abc' * 100)[:40]}…'" in str(caught.value)
    assert len(str(caught.value)) < 160


def test_long_pairs_can_be_left_out() -> None:
    split = encode(PAIRS, max_length=4, skip_long=True)
    assert len(split) == 2
    assert split.n_skipped == 2
    check(collate(split, (0, 1)), [PAIRS[0], PAIRS[3]])


def test_nothing_left_to_learn_from_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"train.en: nothing to encode, all 4 examples are longer than 1"
    ) as caught:
        encode(PAIRS, max_length=1, skip_long=True)
    assert caught.value.hint == "raise model.max_length"
    with pytest.raises(DataError, match=r"train.en: nothing to encode$"):
        encode([])
