"""Which examples go into which batch: sequences of like length together, so that little is padding.

The plan of an epoch is a function of the seed and the epoch alone. A resumed run computes it again and goes
on at any batch, without drawing through those that came before.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepwise_core.data.encoding import EncodedSplit

STREAM = 3  # keeps the order of the data apart from other random numbers with the same seed

BatchIndices = tuple[int, ...]


class BatchPlan:
    """Cuts a split into batches, another way each epoch.

    Args:
        split: the encoded examples.
        batch_size: size of a batch in the unit of `batch_by`.
        batch_by: "examples" counts rows; "tokens" counts cells with padding: rows x (longest source +
            longest target).
        seed: seed of the data order.
    """

    def __init__(
        self, split: EncodedSplit, *, batch_size: int, batch_by: Literal["examples", "tokens"], seed: int
    ) -> None:
        self.batch_size = batch_size
        self.batch_by = batch_by
        self.seed = seed
        self._source_lengths = split.source_lengths
        self._target_lengths = split.target_lengths

    def epoch(self, number: int) -> list[BatchIndices]:
        """Return the batches of an epoch, each as indices of examples; every example is in exactly one.

        All epochs have equally many batches, because the lengths alone decide where one ends.

        Args:
            number: the epoch, counted from 0.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, number, STREAM]))
        # Shuffled before it is sorted, so that examples of equal lengths meet others every epoch.
        order = rng.permutation(len(self._source_lengths))
        order = order[_length_order(self._source_lengths[order], self._target_lengths[order])]
        batches = self._cut(order)
        return [batches[index] for index in rng.permutation(len(batches))]

    def padding_ratio(self, number: int) -> float:
        """Return the part of an epoch's cells, source and target, that is padding."""
        useful = int(self._source_lengths.sum() + self._target_lengths.sum())
        cells = sum(
            len(batch)
            * int(self._source_lengths[list(batch)].max() + self._target_lengths[list(batch)].max())
            for batch in self.epoch(number)
        )
        return 1 - useful / cells

    def _cut(self, order: NDArray[np.int64]) -> list[BatchIndices]:
        """Cut an order into batches; an example above the token budget becomes a batch of its own."""
        if self.batch_by == "examples":
            return _pieces(order, self.batch_size)
        batches: list[BatchIndices] = []
        batch: list[int] = []
        longest_source = longest_target = 0
        lengths = zip(self._source_lengths[order].tolist(), self._target_lengths[order].tolist(), strict=True)
        for index, (source, target) in zip(order.tolist(), lengths, strict=True):
            longest_source, longest_target = max(longest_source, source), max(longest_target, target)
            if batch and (len(batch) + 1) * (longest_source + longest_target) > self.batch_size:
                batches.append(tuple(batch))
                batch = []
                longest_source, longest_target = source, target
            batch.append(index)
        return [*batches, tuple(batch)]


def fixed_batches(split: EncodedSplit, batch_size: int) -> list[BatchIndices]:
    """Return batches for evaluation: by length, always the same. Their indices restore the original order."""
    return _pieces(_length_order(split.source_lengths, split.target_lengths), batch_size)


def _length_order(source_lengths: NDArray[np.int64], target_lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order that puts pairs with like source and like target lengths side by side; stable.

    By the longer side first; within one length from "target much longer" to "source much longer", and for the next
    length back again, so that neighbours are near in both lengths and a batch that spans two lengths pads little.
    """
    longer = np.maximum(source_lengths, target_lengths)
    difference = source_lengths - target_lengths
    return np.lexsort((np.where(longer % 2, difference, -difference), longer))


def _pieces(order: NDArray[np.int64], size: int) -> list[BatchIndices]:
    """Cut an order into pieces of `size`; the last may be smaller."""
    indices = order.tolist()
    return [tuple(indices[start : start + size]) for start in range(0, len(indices), size)]
