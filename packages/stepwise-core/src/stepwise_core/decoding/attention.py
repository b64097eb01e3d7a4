"""Where a model looks while it reads a text and writes its translation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepwise_core.config import EvaluationConfig
from stepwise_core.data.tokenizers import BOS, TokenizerPair
from stepwise_core.decoding.translate import encode_source, translate
from stepwise_core.errors import DataError
from stepwise_core.models.attention_maps import capture_attention
from stepwise_core.models.transformer import Transformer


@dataclass(frozen=True)
class TextAttention:
    """Attention of one text.

    Attributes:
        source: the text.
        target: the translation, found or given.
        source_tokens: S labels, the end mark included.
        target_tokens: T labels of what the decoder reads: begin mark, then the target.
        encoder: (layers, heads, S, S).
        decoder: (layers, heads, T, T).
        cross: (layers, heads, T, S).
    """

    source: str
    target: str
    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    encoder: Tensor
    decoder: Tensor
    cross: Tensor


@torch.no_grad()
def attend_text(
    model: Transformer,
    tokenizers: TokenizerPair,
    text: str,
    target: str | None = None,
    *,
    layers: list[int] | None = None,
    heads: list[int] | None = None,
) -> TextAttention:
    """Run one text through the model and return its attention maps.

    Args:
        model: the (uncompiled) model.
        tokenizers: of source and target.
        text: the source.
        target: the translation to look at; None = what greedy search writes.
        layers: layers to keep, counted from 0; None = all.
        heads: heads to keep; None = all.

    Raises:
        DataError: if a text is empty or longer than model.max_length.
    """
    limit = model.config.max_length
    source_ids = encode_source(tokenizers, text, 0, limit)  # ends with <eos>
    if target is None:
        found = translate(model, tokenizers, [text], EvaluationConfig())[0]
        target = found.output
        target_ids = [BOS, *found.hypotheses[0].tokens][:limit]  # without <eos>, nobody reads the last token
    else:
        target_ids = [BOS, *tokenizers.target.encode(target)]
    if len(target_ids) > limit:
        raise DataError(f"the target has {len(target_ids)} tokens; the model was trained for {limit}")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with capture_attention(model, layers=layers, heads=heads) as captured:
            model(torch.tensor([source_ids], device=device), torch.tensor([target_ids], device=device))
    finally:
        model.train(was_training)
    return TextAttention(
        source=text,
        target=target,
        source_tokens=tokenizers.source.tokens(source_ids),
        target_tokens=tokenizers.target.tokens(target_ids),
        encoder=captured.stacked("encoder").cpu(),
        decoder=captured.stacked("decoder").cpu(),
        cross=captured.stacked("cross").cpu(),
    )
