"""Scaled dot-product attention and multi-head attention (paper, section 3.2).

Attention is written twice. `reference_attention` is the paper's equation, line by line. `fast_attention` is
torch's fused kernel. A property test holds them equal, so that one can be read and the other can run.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepwise_core.components.attention_cache import KeyValueCache
from stepwise_core.components.masks import EVERYTHING, AttentionMask
from stepwise_core.components.positional_encoding import RotaryEncoding


def attention_weights(queries: Tensor, keys: Tensor, mask: AttentionMask = EVERYTHING) -> Tensor:
    """softmax(Q K^T / sqrt(d)): how much each query takes from each key (paper, equation 1).

    Args:
        queries: (B, H, Q, d).
        keys: (B, H, K, d), or (B, G, K, d) with G dividing H for grouped-query attention.
        mask: who may attend to whom.

    Returns:
        (B, H, Q, K); each row sums to one, or is zero where the query may attend to nothing.
    """
    keys = _repeat_groups(keys, queries.shape[1])  # (B, H, K, d)
    scores = queries @ keys.transpose(-2, -1)  # (B, H, Q, K)
    scores = scores / math.sqrt(queries.shape[-1])  # keeps the variance of a score at one
    allowed = mask.dense(queries.shape[-2], keys.shape[-2], queries.device)
    if allowed is None:
        return scores.softmax(dim=-1)
    # A row of nothing but -inf has no softmax: 0/0 is NaN, forward and backward. Such a query takes from nobody:
    # its row keeps its scores, gets a harmless softmax, and is then set to zero.
    lonely = ~allowed.any(dim=-1, keepdim=True)  # (B or 1, 1, Q, 1)
    scores = scores.masked_fill(~(allowed | lonely), -torch.inf)
    return scores.softmax(dim=-1).masked_fill(lonely, 0.0)


def reference_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: AttentionMask = EVERYTHING, dropout: float = 0.0
) -> Tensor:
    """Attention(Q, K, V) = softmax(Q K^T / sqrt(d)) V (paper, equation 1).

    Args:
        queries: (B, H, Q, d).
        keys: (B, G, K, d), G dividing H.
        values: (B, G, K, d).
        mask: who may attend to whom.
        dropout: part of the weights set to zero; the caller passes 0 outside training.

    Returns:
        (B, H, Q, d).
    """
    weights = attention_weights(queries, keys, mask)  # (B, H, Q, K)
    if dropout > 0.0:
        weights = F.dropout(weights, dropout)
    return weights @ _repeat_groups(values, queries.shape[1])  # (B, H, Q, d)


def fast_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: AttentionMask = EVERYTHING, dropout: float = 0.0
) -> Tensor:
    """The same as `reference_attention`, by torch's fused kernel: the weights are never stored."""
    n_queries, n_keys = queries.shape[-2], keys.shape[-2]
    grouped = keys.shape[1] != queries.shape[1]
    # torch's causal flag aligns the first query with the first key, ours the last with the last: equal only if Q = K.
    if mask.causal and mask.key_is_real is None and n_queries == n_keys:
        return F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=dropout, enable_gqa=grouped
        )
    allowed = mask.dense(n_queries, n_keys, queries.device)  # in torch too, True = may attend
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=allowed, dropout_p=dropout, enable_gqa=grouped
    )


class MultiHeadAttention(nn.Module):
    """h attentions side by side, each in its own projection of the inputs (paper, section 3.2.2).

    Args:
        d_model: D, width of inputs and output.
        n_heads: H, query heads.
        n_kv_heads: G, key/value heads; H gives the paper's attention, less is grouped-query attention.
        bias: bias terms in the four projections.
        dropout: dropout on the attention weights in training.
        rotary: rotation of queries and keys by position, if the model encodes positions so.
        fast: use `fast_attention`; otherwise `reference_attention`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        rotary: RotaryEncoding | None = None,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.n_kv_heads = n_kv_heads or n_heads
        self.d_head = d_model // n_heads
        self.dropout = dropout
        self.rotary = rotary
        self.fast = fast
        kv_width = self.n_kv_heads * self.d_head
        self.query_projection = nn.Linear(d_model, d_model, bias=bias)
        self.key_projection = nn.Linear(d_model, kv_width, bias=bias)
        self.value_projection = nn.Linear(d_model, kv_width, bias=bias)
        self.output_projection = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        query_input: Tensor,
        key_value_input: Tensor,
        mask: AttentionMask = EVERYTHING,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Let every position of one sequence look at another sequence, or at its own.

        Args:
            query_input: (B, Q, D) the positions that look.
            key_value_input: (B, K, D) the positions looked at; the same tensor for self-attention.
            mask: who may attend to whom.
            cache: keys and values of earlier steps; extended by this call.

        Returns:
            (B, Q, D).
        """
        queries, keys, values = self._project(query_input, key_value_input, cache)
        attend = fast_attention if self.fast else reference_attention
        heads = attend(queries, keys, values, mask, self.dropout if self.training else 0.0)  # (B, H, Q, d)
        joined = heads.transpose(1, 2).flatten(2)  # (B, Q, H * d) = (B, Q, D)
        output: Tensor = self.output_projection(joined)
        return output

    def weights(
        self, query_input: Tensor, key_value_input: Tensor, mask: AttentionMask = EVERYTHING
    ) -> Tensor:
        """Recompute the attention weights (B, H, Q, K) from the inputs of `forward`, without dropout."""
        queries, keys, _ = self._project(query_input, key_value_input, None)
        return attention_weights(queries, keys, mask)

    def _project(
        self, query_input: Tensor, key_value_input: Tensor, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, H, Q, d), keys and values (B, G, K, d), rotated and joined with the cache."""
        queries = self._split_heads(self.query_projection(query_input))
        start = (
            cache.length if cache is not None and not cache.fixed else 0
        )  # position of the first new token
        if self.rotary is not None:
            queries = self.rotary(queries, start)
        if cache is not None and cache.is_complete:
            return queries, *cache.stored()
        keys = self._split_heads(self.key_projection(key_value_input))
        values = self._split_heads(self.value_projection(key_value_input))
        if self.rotary is not None:
            keys = self.rotary(keys, start)
        if cache is not None:
            keys, values = cache.append(keys, values)
        return queries, keys, values

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, L, heads * d) -> (B, heads, L, d)."""
        batch, length, _ = x.shape
        return x.view(batch, length, -1, self.d_head).transpose(1, 2)


def _repeat_groups(x: Tensor, n_heads: int) -> Tensor:
    """(B, G, L, d) -> (B, H, L, d): each key/value head serves H / G query heads."""
    return x if x.shape[1] == n_heads else x.repeat_interleave(n_heads // x.shape[1], dim=1)
