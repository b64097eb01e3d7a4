"""Beam search against the scores of every possible output, on a vocabulary small enough to list them all."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from stepwise_core.config import ModelConfig
from stepwise_core.data.tokenizers import BOS, EOS, PAD, UNK
from stepwise_core.decoding.search import Hypothesis, beam_search, greedy_search, length_penalty
from stepwise_core.models import Transformer, build_model

V, LIMIT = 6, 4
OPEN = (UNK, 4, 5)  # tokens after which an output goes on
SOURCE = torch.tensor([[4, 5, 5, 4]])
EVERY_BEAM = (V - 2) ** LIMIT


def make_model(seed: int) -> Transformer:
    torch.manual_seed(seed)
    options: dict[str, Any] = {"positions": "learned", "tie_weights": "none", "max_length": 8}
    model = build_model(ModelConfig(d_model=16, n_heads=2, n_layers=1, **options), V, V).double().eval()
    with torch.no_grad():
        model.output_projection.weight *= 3  # a model with opinions: its outputs have many lengths
    return model


@torch.no_grad()
def every_output(model: Transformer) -> dict[tuple[int, ...], float]:
    """{tokens: log-probability} of all outputs of at most LIMIT tokens, <eos> included; the longest have none."""
    longest = list(itertools.product(OPEN, repeat=LIMIT))
    inputs = torch.tensor([[BOS, *tokens[:-1]] for tokens in longest])
    logits = model(SOURCE.expand(len(longest), -1), inputs)  # (outputs, LIMIT, V)
    logits[..., [PAD, BOS]] = -torch.inf
    log_probs: Tensor = logits.log_softmax(-1)
    found: dict[tuple[int, ...], float] = {}
    for row, tokens in enumerate(longest):
        total = 0.0
        for place, token in enumerate(tokens):
            found[tokens[:place]] = total + float(log_probs[row, place, EOS])
            total += float(log_probs[row, place, token])
        found[tokens] = total
    return found


def scores(outputs: dict[tuple[int, ...], float], alpha: float) -> dict[tuple[int, ...], float]:
    """{tokens: score}, best first."""
    found = {
        tokens: total / length_penalty(min(len(tokens) + 1, LIMIT), alpha)
        for tokens, total in outputs.items()
    }
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def search(model: Transformer, beam_size: int, alpha: float, n_best: int = 1) -> list[Hypothesis]:
    (found,) = beam_search(
        model, SOURCE, beam_size=beam_size, alpha=alpha, n_best=n_best, max_lengths=[LIMIT]
    )
    return found


def test_the_listing_is_a_probability_distribution() -> None:
    outputs = every_output(make_model(0))
    assert len(outputs) == 1 + 3 + 9 + 27 + 81
    assert float(torch.tensor(list(outputs.values())).exp().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 3.0])
def test_a_beam_of_everything_finds_the_best_outputs(alpha: float) -> None:
    """The six best, each with its score, whether the search may stop after one or has to find them all."""
    for seed in range(25):
        model = make_model(seed)
        outputs = every_output(model)
        best = scores(outputs, alpha)
        for n_best in (1, 6):
            found = search(model, EVERY_BEAM, alpha, n_best)
            wanted = pytest.approx(list(best.values())[:n_best], rel=1e-5, abs=1e-5)
            assert [each.score for each in found] == wanted
            assert [best[each.tokens] for each in found] == wanted
            for each in found:
                assert each.log_probability == pytest.approx(outputs[each.tokens], rel=1e-5, abs=1e-5)


def test_a_small_beam_often_finds_what_greedy_search_misses() -> None:
    """Over forty models: a beam of three finds the best output nearly always, greedy search less often."""
    hits = {"greedy": 0, "beam": 0}
    for seed in range(40):
        model = make_model(seed)
        best = next(iter(scores(every_output(model), alpha=0.0)))
        hits["greedy"] += greedy_search(model, SOURCE, max_lengths=[LIMIT])[0].tokens == best
        hits["beam"] += search(model, 3, alpha=0.0)[0].tokens == best
    assert hits["beam"] >= 36
    assert hits["greedy"] < hits["beam"]


def test_a_stronger_length_penalty_prefers_longer_outputs() -> None:
    """Never shorter (scores are negative, and a longer output's is divided by more), and often longer."""
    longer = 0
    for seed in range(25):
        model = make_model(seed)
        lengths = [len(search(model, EVERY_BEAM, alpha)[0].tokens) for alpha in (0.0, 0.6, 2.0, 5.0)]
        assert lengths == sorted(lengths)
        longer += lengths[-1] > lengths[0]
    assert longer >= 5
