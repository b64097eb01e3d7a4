"""Examples as token ids, packed into flat arrays: two arrays a side, not a list for every sentence."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepwise_core.data.dataset import Example
from stepwise_core.data.tokenizers import EOS, Tokenizer, TokenizerPair
from stepwise_core.errors import DataError

CHUNK = 10_000  # examples encoded before they are packed


@dataclass(frozen=True)
class EncodedSplit:
    """A split as token ids. Sequence i of a side is `ids[offsets[i]:offsets[i + 1]]` and ends with `<eos>`.

    Attributes:
        source_ids: int32, all source sequences after one another.
        source_offsets: int64 (N + 1,), where each begins.
        target_ids: int32, all target sequences after one another.
        target_offsets: int64 (N + 1,), where each begins.
        n_skipped: examples left out because they were too long.
    """

    source_ids: NDArray[np.int32]
    source_offsets: NDArray[np.int64]
    target_ids: NDArray[np.int32]
    target_offsets: NDArray[np.int64]
    n_skipped: int = 0

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.source_offsets) - 1

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """Tokens of each source, end mark included: (N,)."""
        return np.diff(self.source_offsets)

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        """Tokens of each target, end mark included: (N,)."""
        return np.diff(self.target_offsets)


def encode_split(
    examples: Sequence[Example],
    tokenizers: TokenizerPair,
    *,
    max_length: int,
    origin: str,
    skip_long: bool = False,
) -> EncodedSplit:
    """Encode examples and check their lengths.

    Args:
        examples: what to encode.
        tokenizers: those of the run.
        max_length: the model's position limit: the longest sequence in tokens, end mark included.
        origin: what the examples are, for the error message, e.g. "training split of multi30k-en-de".
        skip_long: leave out examples that are too long, instead of failing.

    Raises:
        DataError: if an example is too long, or none is left.
    """
    sources, targets = _Packer(), _Packer()
    n_skipped = 0
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        source_ids = _with_end_marks(tokenizers.source, [example.source for example in chunk])
        target_ids = _with_end_marks(tokenizers.target, [example.target for example in chunk])
        for number, (source, target) in enumerate(zip(source_ids, target_ids, strict=True), start=start + 1):
            if max(len(source), len(target)) <= max_length:
                sources.add(source)
                targets.add(target)
            elif skip_long:
                n_skipped += 1
            else:
                raise _too_long(origin, number, examples[number - 1], len(source), len(target), max_length)
    if not sources.lengths:
        raise DataError(
            f"{origin}: nothing to encode"
            + (f", all {n_skipped} examples are longer than {max_length} tokens" if n_skipped else ""),
            hint="raise model.max_length" if n_skipped else "check the data with: stepwise data show",
        )
    return EncodedSplit(*sources.packed(), *targets.packed(), n_skipped)


class _Packer:
    """Collects sequences and packs them."""

    def __init__(self) -> None:
        self.ids = array("i")
        self.lengths: list[int] = []

    def add(self, sequence: list[int]) -> None:
        self.ids.extend(sequence)
        self.lengths.append(len(sequence))

    def packed(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return (ids, offsets)."""
        offsets = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        return np.frombuffer(self.ids, dtype=np.int32), offsets


def _with_end_marks(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [[*ids, EOS] for ids in tokenizer.encode_all(texts)]


def _too_long(
    origin: str, number: int, example: Example, n_source: int, n_target: int, max_length: int
) -> DataError:
    """Name the example, the longer side and its length; the first words help to find it in the file."""
    side, length, text = ("source", n_source, example.source)
    if n_target > n_source:
        side, length, text = ("target", n_target, example.target)
    start = text if len(text) <= 40 else f"{text[:40]}…"
    return DataError(
        f"{origin}, example {number}: the {side} {start!r} has {length} tokens with the end mark, "
        f"the limit is {max_length}",
        hint=f"raise model.max_length to {length}, or leave such pairs out; "
        "data.parallel.skip_long does so in training and validation",
    )
