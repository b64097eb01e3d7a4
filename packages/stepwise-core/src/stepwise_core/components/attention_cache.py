"""Memory of the keys and values of one attention, so that decoding projects each token once."""

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of one attention layer.

    Self-attention appends one position per decoding step. Cross-attention stores the projected source once
    (`fixed`) and reads it at every step.

    Args:
        fixed: the first `append` is the last; later calls of the attention reuse what is stored.
        capacity: positions to reserve at first; doubles when it is full.
    """

    def __init__(self, *, fixed: bool = False, capacity: int = 32) -> None:
        self.fixed = fixed
        self.capacity = capacity
        self.length = 0
        self._keys: Tensor | None = None  # (B, G, capacity, d)
        self._values: Tensor | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the stored keys and values are all that will ever be attended to."""
        return self.fixed and self.length > 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add positions and return all of them.

        Args:
            keys: (B, G, L, d).
            values: (B, G, L, d).

        Returns:
            Keys and values of all positions so far, each (B, G, length, d).
        """
        if self.fixed:
            self._keys, self._values, self.length = keys, values, keys.shape[2]
            return keys, values
        end = self.length + keys.shape[2]
        if self._keys is None or self._values is None or end > self._keys.shape[2]:
            self._grow(keys, end)
        assert self._keys is not None and self._values is not None
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self.stored()

    def stored(self) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all positions so far, each (B, G, length, d)."""
        if self._keys is None or self._values is None:
            raise ValueError("the cache is empty")
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order: (rows,) int64 indices into B. Beam search and early finish use it."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]

    def _grow(self, like: Tensor, needed: int) -> None:
        capacity = max(self.capacity, needed, 2 * self.length)
        batch, heads, _, width = like.shape
        keys, values = (
            torch.empty(batch, heads, capacity, width, dtype=like.dtype, device=like.device) for _ in "kv"
        )
        if self._keys is not None and self._values is not None:
            keys[:, :, : self.length], values[:, :, : self.length] = self.stored()
        self._keys, self._values = keys, values
