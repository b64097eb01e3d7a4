"""Greedy and beam search: what is found, its score, its length, and that company changes nothing."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.data.tokenizers import BOS, EOS, PAD
from stepwise_core.decoding.scorer import NextTokenScorer
from stepwise_core.decoding.search import Hypothesis, beam_search, greedy_search, length_penalty
from stepwise_core.models import Transformer, build_model

V = 8
seeds = st.integers(0, 2000)


def make_model(seed: int) -> Transformer:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"positions": "rotary", "tie_weights": "none", "max_length": 32}
    config = ModelConfig(d_model=16, n_heads=2, n_layers=1, **options)
    model = build_model(config, V, V).double().eval()
    with torch.no_grad():
        model.output_projection.weight *= 3  # a model with opinions: its outputs have many lengths
    return model


def ragged(lengths: list[int]) -> tuple[Tensor, AttentionMask]:
    source = torch.randint(3, V, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(0))
    mask = AttentionMask.from_lengths(torch.tensor(lengths), max(lengths))
    return (source if mask.key_is_real is None else source * mask.key_is_real), mask


LENGTHS = [5, 1, 3]
SOURCE, MASK = ragged(LENGTHS)


@torch.no_grad()
def log_probability(model: Transformer, source: Tensor, found: Hypothesis, limit: int) -> float:
    """Score an output by teacher forcing: all its tokens, and the end mark unless it was cut at the limit."""
    tokens = [*found.tokens, EOS] if len(found.tokens) < limit else list(found.tokens)
    logits = model(source, torch.tensor([[BOS, *tokens[:-1]]]))[0]  # (T, V)
    logits[:, [PAD, BOS]] = -torch.inf
    return float(logits.log_softmax(-1)[range(len(tokens)), tokens].sum())


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_length_penalty_is_wu_et_al_equation_14(alpha: float) -> None:
    for length in (1, 7, 50):
        assert length_penalty(length, alpha) == pytest.approx((5 + length) ** alpha / (5 + 1) ** alpha)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_greedy_takes_the_most_probable_token_at_every_step(seed: int) -> None:
    model = make_model(seed).requires_grad_(False)
    found = greedy_search(model, SOURCE, MASK, max_lengths=[6, 6, 6])
    for row, length in enumerate(LENGTHS):
        prefix = [BOS]
        while prefix[-1] != EOS and len(prefix) <= 6:
            logits = model(SOURCE[row : row + 1, :length], torch.tensor([prefix]))[0, -1]
            allowed = [token for token in range(V) if token not in (PAD, BOS)]
            prefix.append(max(allowed, key=lambda token: float(logits[token])))
        assert list(found[row].tokens) == [token for token in prefix[1:] if token != EOS]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, beam_size=st.integers(1, 4), alpha=st.sampled_from([0.0, 0.6, 2.0]))
def test_hypotheses_are_what_they_say(seed: int, beam_size: int, alpha: float) -> None:
    """Sorted, distinct, within the limit, without <pad>, <bos> and <eos>, and scored as the model scores them."""
    model = make_model(seed)
    limits = [7, 2, 4]
    found = beam_search(
        model, SOURCE, MASK, beam_size=beam_size, alpha=alpha, n_best=beam_size, max_lengths=limits
    )
    greedy = greedy_search(model, SOURCE, MASK, max_lengths=limits)
    for row, (limit, hypotheses) in enumerate(zip(limits, found, strict=True)):
        assert len(hypotheses) == beam_size
        assert len({hypothesis.tokens for hypothesis in hypotheses}) == beam_size
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in [*hypotheses, greedy[row]]:
            assert len(hypothesis.tokens) <= limit
            assert not {PAD, BOS, EOS} & set(hypothesis.tokens)
            expected = log_probability(model, SOURCE[row : row + 1, : LENGTHS[row]], hypothesis, limit)
            assert hypothesis.log_probability == pytest.approx(expected, rel=1e-4, abs=1e-5)
        for hypothesis in hypotheses:
            length = min(len(hypothesis.tokens) + 1, limit)
            penalty = length_penalty(length, alpha)
            assert hypothesis.score == pytest.approx(hypothesis.log_probability / penalty)


def test_the_limit_is_reached_and_kept() -> None:
    """Over many models some outputs fill their limit exactly and some end by themselves."""
    lengths = []
    for seed in range(20):
        model = make_model(seed)
        greedy = greedy_search(model, SOURCE, MASK, max_lengths=[5, 1, 3])
        best = beam_search(model, SOURCE, MASK, beam_size=3, max_lengths=[5, 1, 3])
        lengths += [len(hypothesis.tokens) for hypothesis in (greedy[0], best[0][0])]
        assert len(greedy[1].tokens) <= 1
    assert max(lengths) == 5
    assert min(lengths) < 4


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    """Without a length penalty. With one, a beam looks on behind the end for a longer output that scores more."""
    model = make_model(seed)
    limits = [8, 3, 5]
    greedy = greedy_search(model, SOURCE, MASK, max_lengths=limits)
    beam = beam_search(model, SOURCE, MASK, beam_size=1, alpha=0.0, max_lengths=limits)
    assert [hypotheses[0].tokens for hypotheses in beam] == [hypothesis.tokens for hypothesis in greedy]


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    beam_size=st.integers(1, 3),
)
def test_a_batch_is_its_sentences_one_by_one(seed: int, lengths: list[int], beam_size: int) -> None:
    model = make_model(seed)
    source, mask = ragged(lengths)
    limits = [length + 2 for length in lengths]
    greedy = greedy_search(model, source, mask, max_lengths=limits)
    beams = beam_search(model, source, mask, beam_size=beam_size, n_best=beam_size, max_lengths=limits)
    for row, length in enumerate(lengths):
        alone, limit = source[row : row + 1, :length], limits[row : row + 1]
        assert greedy_search(model, alone, max_lengths=limit)[0].tokens == greedy[row].tokens
        (by_itself,) = beam_search(model, alone, beam_size=beam_size, n_best=beam_size, max_lengths=limit)
        assert [found.tokens for found in by_itself] == [found.tokens for found in beams[row]]


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
@torch.no_grad()
def test_padding_and_begin_are_impossible_next_tokens(seed: int) -> None:
    """Even where the model would choose them; the others' probabilities sum to one."""
    model = make_model(seed)
    model.output_projection.weight[[PAD, BOS]] *= 10
    scorer = NextTokenScorer(model, SOURCE, MASK)
    log_probs = scorer(torch.full((3, 1), BOS))
    assert log_probs.dtype == torch.float32
    assert (log_probs[:, [PAD, BOS]] == -torch.inf).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(3))
    found = beam_search(model, SOURCE, MASK, beam_size=3, n_best=3, max_lengths=[4, 4, 4])
    assert not {PAD, BOS} & {token for each in found for hypothesis in each for token in hypothesis.tokens}
