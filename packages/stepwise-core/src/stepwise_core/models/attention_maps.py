"""Attention maps without slowing training: the weights are recomputed from the inputs of chosen layers.

The fast path never stores attention weights. Here each attention's inputs are noted as they pass, and
`MultiHeadAttention.weights` computes the map from them, by the same equation (paper, equation 1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.masks import EVERYTHING
from stepwise_core.models.transformer import Transformer
from stepwise_core.models.transformer_layers import DecoderLayer, EncoderLayer

KINDS = ("encoder", "decoder", "cross")


@dataclass
class CapturedAttention:
    """Attention weights by kind and layer, filled while `capture_attention` is open.

    Attributes:
        maps: {kind: {layer: (B, heads, Q, K)}} for the kinds encoder, decoder and cross.
    """

    maps: dict[str, dict[int, Tensor]] = field(default_factory=lambda: {kind: {} for kind in KINDS})

    def stacked(self, kind: str, sequence: int = 0) -> Tensor:
        """Return one sequence's maps of a kind as (layers, heads, Q, K), layers in ascending order."""
        layers = self.maps[kind]
        return torch.stack([layers[index][sequence] for index in sorted(layers)])


@contextmanager
def capture_attention(
    model: Transformer, *, layers: list[int] | None = None, heads: list[int] | None = None
) -> Iterator[CapturedAttention]:
    """Note the attention maps of every forward pass made inside the `with`; the last pass stays.

    Args:
        model: the (uncompiled) model.
        layers: layers to keep, counted from 0; None = all.
        heads: heads to keep; None = all.

    Raises:
        ValueError: inside the `with`, if the model decodes step by step with a cache.
    """
    captured = CapturedAttention()
    hooks = [
        attention.register_forward_pre_hook(_noting(captured.maps[kind], index, heads), with_kwargs=True)
        for kind, index, attention in _attentions(model)
        if layers is None or index in layers
    ]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()


def _attentions(model: Transformer) -> Iterator[tuple[str, int, MultiHeadAttention]]:
    """Yield (kind, layer, module) of every attention of the model."""
    for index, layer in enumerate(model.encoder.layers):
        yield "encoder", index, cast(EncoderLayer, layer).self_attention
    for index, layer in enumerate(model.decoder.layers):
        yield "decoder", index, cast(DecoderLayer, layer).self_attention
        yield "cross", index, cast(DecoderLayer, layer).cross_attention


def _noting(place: dict[int, Tensor], layer: int, heads: list[int] | None) -> Any:
    """Make a hook that computes the map of one attention from the inputs it is about to get."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(module, MultiHeadAttention)
        query_input, key_value_input = args[:2]
        mask = args[2] if len(args) > 2 else kwargs.get("mask", EVERYTHING)
        cache = args[3] if len(args) > 3 else kwargs.get("cache")
        if cache is not None:
            raise ValueError("attention maps need a pass without a cache: with one, only the new tokens pass")
        with torch.no_grad():
            weights = module.weights(query_input, key_value_input, mask)  # (B, H, Q, K)
        place[layer] = weights if heads is None else weights[:, heads]

    return hook
