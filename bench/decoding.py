"""Greedy decoding with the key-value cache against running the whole prefix again at every step."""

import time

import torch

from stepwise_core.components.masks import EVERYTHING
from stepwise_core.config import config_from_dict
from stepwise_core.data.tokenizers import BOS
from stepwise_core.decoding.scorer import NextTokenScorer
from stepwise_core.models import Transformer, build_model
from training import SIZE, VOCABULARY, Result, summarize

LENGTHS = (32, 128, 512)
BATCH = 4


def decoding(rounds: int) -> list[Result]:
    """Compare tokens per second at several output lengths; no sentence ends early."""
    values = {"preset": "modern", "model": {**SIZE, "max_length": max(LENGTHS), "dropout": 0.0}}
    torch.manual_seed(0)
    model = build_model(config_from_dict(values).config.model, VOCABULARY, VOCABULARY).eval()
    source = torch.randint(4, VOCABULARY, (BATCH, 32))
    results = []
    for length in LENGTHS:
        repeats = rounds if length < 512 else 1  # a minute without the cache
        _speed(model, source, min(length, 64), use_cache=True)  # warm-up
        pairs = [
            (_speed(model, source, length, use_cache=True), _speed(model, source, length, use_cache=False))
            for _ in range(repeats)
        ]
        note = f"greedy, batch of {BATCH}, source of 32 tokens; with cache against without"
        results.append(summarize(f"decoding, {length} tokens", pairs, note))
    return results


@torch.no_grad()
def _speed(model: Transformer, source: torch.Tensor, length: int, *, use_cache: bool) -> float:
    started = time.perf_counter()
    scorer = NextTokenScorer(model, source, EVERYTHING, use_cache=use_cache)
    prefixes = torch.full((len(source), 1), BOS)
    for _ in range(length):
        prefixes = torch.cat([prefixes, scorer(prefixes).argmax(dim=-1, keepdim=True)], dim=1)
    return len(source) * length / (time.perf_counter() - started)
