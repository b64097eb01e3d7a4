"""Useful (non-padding) training tokens per second, side by side with torch.nn.Transformer of the same size."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stepwise_core.config import Config, config_from_dict
from stepwise_core.data.batches import BatchPlan, EncodedSplit, collate, encode_split
from stepwise_core.data.dataset import load_dataset
from stepwise_core.data.tokenizers import EOS, UNK, build_tokenizers
from worker import Side, Worker

SIZE = {"d_model": 256, "n_heads": 4, "n_layers": 3, "d_ff": 1024}
VOCABULARY = 8_000
DENSE = {"batches": 8, "rows": 32, "length": 32}
PAIRS, STEPS = 128, 12  # Multi30k: pairs a batch, batches a round


@dataclass(frozen=True)
class Result:
    """One comparison.

    Attributes:
        name: what was compared.
        ours: tokens per second of stepwise, median over rounds.
        peer: the same of the peer.
        ratio: median, lowest and highest of the ratios of the rounds.
        note: what to know about it.
    """

    name: str
    ours: float
    peer: float
    ratio: tuple[float, float, float]
    note: str


def summarize(name: str, pairs: list[tuple[float, float]], note: str) -> Result:
    """Make a result of (ours, peer) speeds, a pair per round."""
    ratios = sorted(ours / peer for ours, peer in pairs)
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Result(name, ours, peer, (statistics.median(ratios), ratios[0], ratios[-1]), note)


def dense(rounds: int, dropout: float) -> Result:
    """Compare on equal batches without padding."""
    config = _settings(dropout)
    rows, count = DENSE["rows"], DENSE["batches"]
    split = _dense_split(rows * count, DENSE["length"])
    batches = [range(start, start + rows) for start in range(0, rows * count, rows)]
    pairs = _take_turns(config, VOCABULARY, split, batches, batches, rounds)
    note = f"batches of {rows} x {DENSE['length']} tokens a side, the same for both; dropout {dropout}"
    return summarize(f"training, dense, dropout {dropout}", pairs, note)


def multi30k(folder: Path, rounds: int, dropout: float = 0.1) -> Result:
    """Compare on Multi30k: ours in length-bucketed batches, the peer in random batches padded to the longest."""
    files = {
        f"{split}_{side}": str(folder / f"{name}.{language}.gz")
        for split, name in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr"))
        for side, language in (("source", "en"), ("target", "de"))
    }
    tokenizer = {"type": "bpe", "vocab_size": VOCABULARY, "shared": True}
    config = _settings(dropout, data={"name": "parallel", "parallel": files}, tokenizer=tokenizer)
    dataset = load_dataset(config.data)
    tokenizers = build_tokenizers(config.tokenizer, dataset)
    split = encode_split(dataset.train, tokenizers, max_length=256, origin="multi30k")
    bucketed = BatchPlan(split, batch_size=PAIRS, batch_by="examples", seed=0).epoch(0)[:STEPS]
    shuffled = _random_batches(len(split))[:STEPS]
    pairs = _take_turns(config, tokenizers.target.vocab_size, split, bucketed, shuffled, rounds)
    ours, peer = (_padding(split, batches) for batches in (bucketed, shuffled))
    note = f"{PAIRS} pairs a batch; padding {ours:.1%} against {peer:.1%}; dropout {dropout}"
    return summarize("training, Multi30k en-de", pairs, note)


def _settings(dropout: float, **data: object) -> Config:
    """Return the faithful architecture, which is the one nn.Transformer has, in the benchmark's size."""
    model = {**SIZE, "max_length": 256, "tie_weights": "none", "dropout": dropout}
    return config_from_dict(
        {"preset": "paper", "model": model, "training": {"learning_rate": 1e-4}, **data}
    ).config


def _take_turns(
    config: Config,
    vocab_size: int,
    split: EncodedSplit,
    our_batches: Sequence[Sequence[int]],
    peer_batches: Sequence[Sequence[int]],
    rounds: int,
) -> list[tuple[float, float]]:
    """Time both in turn, round by round, so that a machine that changes its speed changes it for both.

    Each side lives in a process of its own, set up as its trainer would: what one does to its process can neither
    help nor hurt the other.
    """
    threads = torch.get_num_threads()
    ours = Side(True, config, vocab_size, split, our_batches, threads)
    peer = Side(False, config, vocab_size, split, peer_batches, threads)
    with Worker(ours) as our_worker, Worker(peer) as peer_worker:
        our_worker.measure()  # warm-up
        peer_worker.measure()
        return [(our_worker.measure(), peer_worker.measure()) for _ in range(rounds)]


def _dense_split(count: int, length: int) -> EncodedSplit:
    """Make examples of one length, end mark included, with random tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(UNK + 1, VOCABULARY, (2, count, length), dtype=np.int32)
    ids[:, :, -1] = EOS
    offsets = np.arange(count + 1) * length
    return EncodedSplit(ids[0].ravel(), offsets, ids[1].ravel(), offsets)


def _random_batches(count: int) -> list[Sequence[int]]:
    order = list(range(count))
    random.Random(0).shuffle(order)
    return [order[start : start + PAIRS] for start in range(0, count, PAIRS)]


def _padding(split: EncodedSplit, batches: Sequence[Sequence[int]]) -> float:
    made = [collate(split, tuple(indices)) for indices in batches]
    return 1 - sum(batch.n_tokens for batch in made) / sum(batch.n_padded for batch in made)
