"""One encoder layer and one decoder layer, and their stacks (paper, section 3.1, figure 1)."""

from torch import Tensor, nn

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.attention_cache import KeyValueCache
from stepwise_core.components.feed_forward import FeedForward
from stepwise_core.components.masks import CAUSAL, EVERYTHING, AttentionMask
from stepwise_core.components.normalization import Residual, build_norm
from stepwise_core.components.positional_encoding import RotaryEncoding
from stepwise_core.config import ModelConfig


class LayerCache:
    """What one decoder layer remembers while decoding: its own past, and the projected source.

    Args:
        capacity: target positions to reserve at first.
    """

    def __init__(self, capacity: int = 32) -> None:
        self.self_attention = KeyValueCache(capacity=capacity)
        self.cross_attention = KeyValueCache(fixed=True)

    def select(self, rows: Tensor) -> None:
        """Keep these sequences, in this order: (rows,) int64 indices into B."""
        self.self_attention.select(rows)
        self.cross_attention.select(rows)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each in a residual connection (paper, figure 1, left).

    Args:
        config: the architecture.
        rotary: rotation of queries and keys, if positions enter so.
    """

    def __init__(self, config: ModelConfig, rotary: RotaryEncoding | None) -> None:
        super().__init__()
        self.self_attention = _attention(config, rotary)
        self.self_attention_residual = _residual(config)
        self.feed_forward = _feed_forward(config)
        self.feed_forward_residual = _residual(config)

    def forward(self, x: Tensor, mask: AttentionMask = EVERYTHING) -> Tensor:
        """Map x (B, S, D) to (B, S, D)."""
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, h, mask))
        output: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return output


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the encoder's output, feed-forward (paper, figure 1, right).

    Args:
        config: the architecture.
        rotary: rotation of queries and keys in self-attention, if positions enter so.
    """

    def __init__(self, config: ModelConfig, rotary: RotaryEncoding | None) -> None:
        super().__init__()
        self.self_attention = _attention(config, rotary)
        self.self_attention_residual = _residual(config)
        self.cross_attention = _attention(
            config, rotary=None
        )  # two sequences: no common distance to rotate by
        self.cross_attention_residual = _residual(config)
        self.feed_forward = _feed_forward(config)
        self.feed_forward_residual = _residual(config)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: AttentionMask = EVERYTHING,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map x (B, T, D) to (B, T, D), reading the encoder's output `memory` (B, S, D).

        Targets are padded on the right, so a real position never sees padding behind the causal mask: the
        self-attention needs no padding mask.
        """
        own = cache.self_attention if cache else None
        source = cache.cross_attention if cache else None
        x = self.self_attention_residual(x, lambda h: self.self_attention(h, h, CAUSAL, own))
        x = self.cross_attention_residual(x, lambda h: self.cross_attention(h, memory, memory_mask, source))
        output: Tensor = self.feed_forward_residual(x, self.feed_forward)
        return output


class Encoder(nn.Module):
    """A stack of encoder layers; pre-norm stacks end with a norm, because their residual stream has none.

    Args:
        config: the architecture.
        rotary: shared by all layers.
    """

    def __init__(self, config: ModelConfig, rotary: RotaryEncoding | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config, rotary) for _ in range(config.encoder_layers))
        self.norm = _final_norm(config)

    def forward(self, x: Tensor, mask: AttentionMask = EVERYTHING) -> Tensor:
        """Map embedded sources (B, S, D) to (B, S, D)."""
        for layer in self.layers:
            x = layer(x, mask)
        output: Tensor = self.norm(x)
        return output


class Decoder(nn.Module):
    """A stack of decoder layers; see `Encoder` for the final norm.

    Args:
        config: the architecture.
        rotary: shared by all layers.
    """

    def __init__(self, config: ModelConfig, rotary: RotaryEncoding | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config, rotary) for _ in range(config.decoder_layers))
        self.norm = _final_norm(config)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: AttentionMask = EVERYTHING,
        cache: list[LayerCache] | None = None,
    ) -> Tensor:
        """Map embedded targets (B, T, D) to (B, T, D), reading `memory` (B, S, D)."""
        for index, layer in enumerate(self.layers):
            x = layer(x, memory, memory_mask, cache[index] if cache else None)
        output: Tensor = self.norm(x)
        return output


def _attention(config: ModelConfig, rotary: RotaryEncoding | None) -> MultiHeadAttention:
    return MultiHeadAttention(
        config.d_model,
        config.n_heads,
        n_kv_heads=config.kv_heads,
        bias=config.bias,
        dropout=config.attention_dropout,
        rotary=rotary,
        fast=config.attention == "fast",
    )


def _feed_forward(config: ModelConfig) -> FeedForward:
    return FeedForward(config.d_model, config.feed_forward_width, config.activation, bias=config.bias)


def _residual(config: ModelConfig) -> Residual:
    norm = build_norm(config.norm, config.d_model, config.norm_eps, bias=config.bias)
    return Residual(norm, config.norm_position, config.dropout)


def _final_norm(config: ModelConfig) -> nn.Module:
    if config.norm_position == "post":
        return nn.Identity()
    return build_norm(config.norm, config.d_model, config.norm_eps, bias=config.bias)
