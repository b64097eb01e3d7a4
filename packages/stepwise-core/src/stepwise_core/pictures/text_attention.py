"""Pictures of where a model looked in one text: all kinds, layers and heads."""

from collections.abc import Sequence
from pathlib import Path

from stepwise_core.decoding.attention import TextAttention
from stepwise_core.models.attention_maps import KINDS
from stepwise_core.pictures.files import PictureFormat
from stepwise_core.pictures.heatmaps import AttentionMaps, save_attention


def attention_maps(attention: TextAttention, kind: str) -> AttentionMaps:
    """Return one kind of attention of a text with the tokens of its rows and columns."""
    source, target = attention.source_tokens, attention.target_tokens
    if kind == "encoder":
        return AttentionMaps(kind, attention.encoder.float().numpy(), source, source)
    if kind == "decoder":
        return AttentionMaps(kind, attention.decoder.float().numpy(), target, target)
    return AttentionMaps(kind, attention.cross.float().numpy(), target, source)


def save_text_attention(
    attention: TextAttention,
    folder: Path,
    formats: Sequence[PictureFormat] = ("png", "svg"),
    *,
    kinds: Sequence[str] = KINDS,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> list[Path]:
    """Draw the attention of a text, files per kind, and return the paths; arguments as `save_attention`.

    Raises:
        IndexError: for a layer or head that is not there.
        RunError: if the folder cannot be written.
    """
    return [
        path
        for kind in kinds
        for path in save_attention(
            attention_maps(attention, kind), folder, formats, layers=layers, heads=heads
        )
    ]
