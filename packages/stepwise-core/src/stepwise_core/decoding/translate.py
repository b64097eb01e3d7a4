"""From text to text: tokenize, search in batches of similar length, detokenize, restore the order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import EvaluationConfig
from stepwise_core.data.tokenizers import EOS, PAD, TokenizerPair
from stepwise_core.decoding.search import Hypothesis, beam_search, greedy_search
from stepwise_core.errors import DataError
from stepwise_core.models.transformer import Transformer


@dataclass(frozen=True)
class Translation:
    """One input and its outputs, best first.

    Attributes:
        source: the input text.
        outputs: output texts, n_best of them for beam search.
        hypotheses: the same as tokens, with their scores.
    """

    source: str
    outputs: tuple[str, ...]
    hypotheses: tuple[Hypothesis, ...]

    @property
    def output(self) -> str:
        """The best output."""
        return self.outputs[0]


def translate(
    model: Transformer,
    tokenizers: TokenizerPair,
    texts: Sequence[str],
    config: EvaluationConfig,
    *,
    n_best: int = 1,
    use_cache: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> list[Translation]:
    """Translate texts with greedy search (beam_size 1) or beam search.

    Args:
        model: the model; it is put into evaluation mode for the time being.
        tokenizers: of source and target.
        texts: inputs, one sentence each.
        config: batch_size, beam_size, length_penalty, max_length.
        n_best: outputs per input, at most beam_size.
        use_cache: decode with a key-value cache.
        on_progress: called with the number of sentences just done.

    Returns:
        One translation per text, in order.

    Raises:
        DataError: if a text is empty or longer than model.max_length.
    """
    encoded = [
        encode_source(tokenizers, text, index, model.config.max_length) for index, text in enumerate(texts)
    ]
    by_length = sorted(range(len(texts)), key=lambda index: -len(encoded[index]))
    results: dict[int, Translation] = {}
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(texts), config.batch_size):
            indices = by_length[start : start + config.batch_size]
            found = _search(model, [encoded[index] for index in indices], config, n_best, use_cache)
            for index, hypotheses in zip(indices, found, strict=True):
                outputs = tuple(
                    tokenizers.target.decode(list(hypothesis.tokens)) for hypothesis in hypotheses
                )
                results[index] = Translation(texts[index], outputs, tuple(hypotheses))
            if on_progress is not None:
                on_progress(len(indices))
    finally:
        model.train(was_training)
    return [results[index] for index in range(len(texts))]


def encode_source(tokenizers: TokenizerPair, text: str, index: int, limit: int) -> list[int]:
    """Return a source text's ids with the end mark.

    Raises:
        DataError: if text number `index` (from 0) is not UTF-8, empty, or longer than `limit` tokens.
    """
    ids = [*tokenizers.source.encode(text), EOS]
    if len(ids) == 1:
        raise DataError(f"text {index + 1} is empty", hint="give some text to translate")
    if len(ids) > limit:
        raise DataError(
            f"text {index + 1} has {len(ids)} tokens; the model was trained for at most {limit}",
            hint="cut it into shorter texts, or train with a larger model.max_length",
        )
    return ids


def _search(
    model: Transformer, encoded: list[list[int]], config: EvaluationConfig, n_best: int, use_cache: bool
) -> list[list[Hypothesis]]:
    device = next(model.parameters()).device
    lengths = torch.tensor([len(ids) for ids in encoded])  # (B,)
    longest = int(lengths.max())
    source = torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in encoded], device=device)  # (B, S)
    mask = AttentionMask.from_lengths(lengths, longest, device)
    limits = [config.max_length or min(len(ids) + 50, model.config.max_length) for ids in encoded]
    if config.beam_size == 1:
        found = greedy_search(model, source, mask, max_lengths=limits, use_cache=use_cache)
        return [[hypothesis] for hypothesis in found]
    return beam_search(
        model,
        source,
        mask,
        beam_size=config.beam_size,
        max_lengths=limits,
        alpha=config.length_penalty,
        n_best=n_best,
        use_cache=use_cache,
    )
