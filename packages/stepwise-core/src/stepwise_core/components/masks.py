"""The one mask type. It has one meaning everywhere: True = this query may attend to this key.

A query with nothing to attend to gets zeros from attention, and passes a gradient of zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AttentionMask:
    """Who may attend to whom.

    The two reasons to forbid a key are kept apart, because "causal" alone lets the fast path skip half of the
    work, and "everything allowed" lets it skip the mask.

    Attributes:
        key_is_real: (B, K) bool, False where a key is padding; None when no key is.
        causal: a query may not attend to keys after its own position (paper, section 3.2.3).
    """

    key_is_real: Tensor | None = None
    causal: bool = False

    @classmethod
    def from_lengths(
        cls, lengths: Tensor, longest: int, device: torch.device | str | None = None
    ) -> "AttentionMask":
        """Build the mask of right-padded sequences.

        Args:
            lengths: (B,) real tokens per sequence, on the CPU: looking at it must not wait for a GPU.
            longest: K, the padded length.
            device: where the mask is needed.
        """
        if bool((lengths == longest).all()):
            return cls()
        positions = torch.arange(longest)  # (K,)
        key_is_real = positions < lengths[:, None]  # (B, K)
        return cls(key_is_real.to(device, non_blocking=True))

    def dense(self, n_queries: int, n_keys: int, device: torch.device | str | None = None) -> Tensor | None:
        """Return the mask as (B or 1, 1, Q, K) bool, True = may attend; None where everything is allowed.

        The queries are the last `n_queries` of the `n_keys` positions, as in step-by-step decoding with a cache.
        """
        allowed = None
        if self.causal and n_queries > 1:
            square = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
            allowed = square.tril(n_keys - n_queries)[None, None]  # (1, 1, Q, K)
        if self.key_is_real is not None:
            real = self.key_is_real[:, None, None, :]  # (B, 1, 1, K)
            allowed = real.expand(-1, -1, n_queries, -1) if allowed is None else allowed & real
        return allowed

    def picture(self, n_queries: int, n_keys: int, sequence: int = 0) -> str:
        """Draw the mask of one sequence: a row per query, `■` where it may attend and `·` where it may not."""
        allowed = self.dense(n_queries, n_keys)
        if allowed is None:
            return "\n".join(["■" * n_keys] * n_queries)
        rows = allowed[min(sequence, len(allowed) - 1), 0].tolist()
        return "\n".join("".join("■" if may else "·" for may in row) for row in rows)


EVERYTHING = AttentionMask()
CAUSAL = AttentionMask(causal=True)
