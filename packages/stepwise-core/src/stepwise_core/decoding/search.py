"""Greedy and beam search: from source tokens to the most probable target tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepwise_core.components.masks import EVERYTHING, AttentionMask
from stepwise_core.data.tokenizers import BOS, EOS
from stepwise_core.decoding.scorer import NextTokenScorer
from stepwise_core.models.transformer import Transformer


@dataclass(frozen=True)
class Hypothesis:
    """One output.

    Attributes:
        tokens: target ids without <bos> and <eos>.
        log_probability: of all its tokens, <eos> included where it ended by itself.
        score: log_probability divided by the length penalty; hypotheses are ranked by it.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


def length_penalty(length: int, alpha: float) -> float:
    """lp(Y) = (5 + |Y|)^alpha / 6^alpha (Wu et al., 2016, equation 14): above 1 for long outputs, 1 if alpha is 0."""
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()
def greedy_search(
    model: Transformer,
    source: Tensor,
    source_mask: AttentionMask = EVERYTHING,
    *,
    max_lengths: Sequence[int],
    use_cache: bool = True,
) -> list[Hypothesis]:
    """Take the most probable token at every step.

    Args:
        model: in evaluation mode.
        source: (B, S) int64 token ids, right-padded.
        source_mask: which source tokens are real.
        max_lengths: longest output per sentence, <eos> included.
        use_cache: see `NextTokenScorer`; the outputs are the same either way.

    Returns:
        One hypothesis per sentence, in order.
    """
    scorer = NextTokenScorer(model, source, source_mask, use_cache=use_cache)
    prefixes = torch.full((len(source), 1), BOS, device=source.device)  # (B, 1)
    totals = torch.zeros(len(source), device=source.device)  # (B,)
    limits = torch.tensor(max_lengths, device=source.device)  # (B,)
    rows = list(range(len(source)))  # which sentence each remaining row belongs to
    results: dict[int, Hypothesis] = {}
    while rows:
        best, tokens = scorer(prefixes).max(dim=-1)  # (B,), (B,)
        totals = totals + best
        prefixes = torch.cat([prefixes, tokens[:, None]], dim=1)
        done = (tokens == EOS) | (prefixes.shape[1] > limits)
        if done.any():
            for row in done.nonzero().flatten().tolist():
                results[rows[row]] = _hypothesis(prefixes[row], float(totals[row]), alpha=0.0)
            going = (~done).nonzero().flatten()
            rows = [rows[row] for row in going.tolist()]
            prefixes, totals, limits = prefixes[going], totals[going], limits[going]
            scorer.select(going)
    return [results[index] for index in range(len(source))]


@torch.no_grad()
def beam_search(
    model: Transformer,
    source: Tensor,
    source_mask: AttentionMask = EVERYTHING,
    *,
    beam_size: int,
    max_lengths: Sequence[int],
    alpha: float = 0.6,
    n_best: int = 1,
    use_cache: bool = True,
) -> list[list[Hypothesis]]:
    """Keep the `beam_size` most probable prefixes at every step (paper, section 6.1).

    A sentence is done when no unfinished prefix can still beat its n best finished ones.

    Args:
        model: in evaluation mode.
        source: (B, S) int64 token ids, right-padded.
        source_mask: which source tokens are real.
        beam_size: k, prefixes per sentence.
        max_lengths: longest output per sentence, <eos> included.
        alpha: strength of the length penalty; 0 ranks by log-probability alone.
        n_best: hypotheses to return per sentence, at most k.
        use_cache: see `NextTokenScorer`.

    Returns:
        For each sentence, in order, up to n_best hypotheses, best first.
    """
    k = beam_size
    scorer = NextTokenScorer(model, source, source_mask, use_cache=use_cache, copies=k)
    prefixes = torch.full((len(source) * k, 1), BOS, device=source.device)  # (B * k, 1)
    totals = torch.full((len(source), k), -torch.inf, device=source.device)  # (B, k)
    totals[:, 0] = 0.0  # all k prefixes are the same at first: only one may grow
    sentences = list(range(len(source)))  # which sentence each remaining block of k rows belongs to
    finished: list[list[Hypothesis]] = [[] for _ in sentences]
    while sentences:
        totals, origins, tokens, ended = _grow_beams(totals, scorer(prefixes))
        for block, total, origin in ended:
            ending = torch.cat([prefixes[block * k + origin], torch.tensor([EOS], device=source.device)])
            finished[sentences[block]].append(_hypothesis(ending, total, alpha))
        rows = (
            torch.arange(len(sentences), device=source.device)[:, None] * k + origins
        ).flatten()  # (B * k,)
        prefixes = torch.cat([prefixes[rows], tokens.flatten()[:, None]], dim=1)
        going = []
        for block, sentence in enumerate(sentences):
            if prefixes.shape[1] > max_lengths[sentence]:  # out of room: what is there counts as it is
                finished[sentence] += _unfinished(prefixes[block * k : (block + 1) * k], totals[block], alpha)
            elif not _is_done(
                finished[sentence], float(totals[block, 0]), max_lengths[sentence], alpha, n_best
            ):
                going.append(block)
        kept = torch.tensor(going, device=source.device, dtype=torch.int64)
        within = (kept[:, None] * k + torch.arange(k, device=source.device)).flatten()
        scorer.select(rows[within])
        prefixes, totals, sentences = prefixes[within], totals[kept], [sentences[block] for block in going]
    return [sorted(hypotheses, key=lambda h: -h.score)[:n_best] for hypotheses in finished]


def _grow_beams(
    totals: Tensor, log_probs: Tensor
) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, float, int]]]:
    """Extend every prefix by its best next tokens.

    Args:
        totals: (B, k) log-probabilities of the prefixes.
        log_probs: (B * k, V) of the next tokens.

    Returns:
        New totals (B, k) best first, the prefix each came from (B, k), its new token (B, k), and those that
        ended as (block, total, prefix).
    """
    batch, k = totals.shape
    vocab_size = log_probs.shape[-1]
    candidates = (totals[:, :, None] + log_probs.view(batch, k, vocab_size)).view(batch, -1)  # (B, k * V)
    # At most k of the 2k best end (each prefix ends in one way), so k that go on are always among them.
    best, flat = candidates.topk(min(2 * k, candidates.shape[1]), dim=-1)  # (B, 2k)
    origins, tokens = flat // vocab_size, flat % vocab_size
    ends = tokens == EOS
    ended = [
        (block, float(best[block, place]), int(origins[block, place]))
        for block, place in ends[:, :k].nonzero().tolist()  # an end below rank k lost against k others
        if best[block, place] > -torch.inf
    ]
    totals, places = best.masked_fill(ends, -torch.inf).topk(k, dim=-1)  # (B, k)
    return totals, origins.gather(1, places), tokens.gather(1, places), ended


def _is_done(
    finished: list[Hypothesis], best_open: float, max_length: int, alpha: float, n_best: int
) -> bool:
    """Whether no open prefix can beat the n best finished: its score only falls, but for the length penalty."""
    if best_open == -torch.inf:
        return bool(finished)
    if len(finished) < n_best:
        return False
    bar = sorted((hypothesis.score for hypothesis in finished), reverse=True)[n_best - 1]
    return best_open / length_penalty(max_length, alpha) <= bar


def _hypothesis(prefix: Tensor, total: float, alpha: float) -> Hypothesis:
    tokens = prefix.tolist()[1:]  # without <bos>
    score = total / length_penalty(len(tokens), alpha)
    return Hypothesis(tuple(tokens[:-1] if tokens[-1] == EOS else tokens), total, score)


def _unfinished(prefixes: Tensor, totals: Tensor, alpha: float) -> list[Hypothesis]:
    return [
        _hypothesis(prefix, float(total), alpha)
        for prefix, total in zip(prefixes, totals, strict=True)
        if total > -torch.inf
    ]
