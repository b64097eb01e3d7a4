"""Useful (non-padding) training tokens per second, side by side with torch.nn.Transformer of the same size."""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from peer import TorchTransformer, peer_step
from stepwise_core.config import Config, config_from_dict
from stepwise_core.data.batches import Batch, BatchPlan, EncodedSplit, collate, encode_split
from stepwise_core.data.dataset import load_dataset
from stepwise_core.data.tokenizers import build_tokenizers
from stepwise_core.models import build_model
from stepwise_core.training.optimizer import build_optimizer
from stepwise_core.training.step import accumulate_gradients

CPU = torch.device("cpu")
SIZE = {"d_model": 256, "n_heads": 4, "n_layers": 3, "d_ff": 1024}
VOCABULARY = 8_000
DENSE = {"batch": 32, "length": 32}


@dataclass(frozen=True)
class Result:
    """One comparison.

    Attributes:
        name: what was compared.
        ours: useful tokens per second of stepwise, median over rounds.
        peer: the same of the peer.
        ratio: median of the ratios of the rounds, and their range.
        note: what to know about it.
    """

    name: str
    ours: float
    peer: float
    ratio: tuple[float, float, float]
    note: str


def settings(dropout: float, **data: object) -> Config:
    """Return the faithful architecture, which is the one nn.Transformer has, in the benchmark's size."""
    model = {**SIZE, "max_length": 256, "tie_weights": "none", "dropout": dropout}
    return config_from_dict({"preset": "paper", "model": model, **data}).config


def dense(rounds: int, dropout: float) -> Result:
    """Compare on equal batches without padding."""
    config = settings(dropout)
    batches = [_dense_batch(seed) for seed in range(8)]
    ours, peer = _our_step(config, VOCABULARY), _peer_step(VOCABULARY, dropout)
    note = (
        f"batches of {DENSE['batch']} x {DENSE['length']} tokens a side, the same for both; dropout {dropout}"
    )
    return _compare(
        f"dense, dropout {dropout}", lambda: iter(batches), ours, lambda: iter(batches), peer, rounds, note
    )


def multi30k(
    folder: Path, rounds: int, dropout: float = 0.1, batch_size: int = 128, steps: int = 12
) -> Result:
    """Compare on Multi30k: ours in length-bucketed batches, the peer in random batches padded to the longest."""
    names = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    files = {
        f"{split}_{side}": str(folder / f"{name}.{language}.gz")
        for split, name in names.items()
        for side, language in (("source", "en"), ("target", "de"))
    }
    tokenizer = {"type": "bpe", "vocab_size": VOCABULARY, "shared": True}
    config = settings(dropout, data={"name": "parallel", "parallel": files}, tokenizer=tokenizer)
    dataset = load_dataset(config.data)
    tokenizers = build_tokenizers(config.tokenizer, dataset)
    split = encode_split(dataset.train, tokenizers, max_length=256, origin="multi30k")
    plan = BatchPlan(split, batch_size=batch_size, batch_by="examples", seed=0)

    def bucketed() -> Iterator[Batch]:
        return (collate(split, indices) for indices in plan.epoch(0)[:steps])

    def shuffled() -> Iterator[Batch]:
        return (collate(split, indices) for indices in _random_batches(split, batch_size)[:steps])

    vocabulary = tokenizers.target.vocab_size
    padding = 1 - sum(b.n_tokens for b in shuffled()) / sum(b.n_padded for b in shuffled())
    note = f"{batch_size} pairs a batch; padding {plan.padding_ratio(0):.1%} against {padding:.1%}; dropout {dropout}"
    ours, peer = _our_step(config, vocabulary), _peer_step(vocabulary, dropout)
    return _compare("Multi30k en-de", bucketed, ours, shuffled, peer, rounds, note)


def _compare(
    name: str,
    our_batches: Callable[[], Iterator[Batch]],
    our_step: Callable[[Batch], None],
    peer_batches: Callable[[], Iterator[Batch]],
    peer_step_: Callable[[Batch], None],
    rounds: int,
    note: str,
) -> Result:
    """Time both in turn, round by round, so that a machine that changes its speed changes it for both."""
    _tokens_per_second(our_batches(), our_step)  # warm-up
    _tokens_per_second(peer_batches(), peer_step_)
    pairs = [
        (_tokens_per_second(our_batches(), our_step), _tokens_per_second(peer_batches(), peer_step_))
        for _ in range(rounds)
    ]
    ratios = sorted(ours / peer for ours, peer in pairs)
    return Result(
        name,
        statistics.median(ours for ours, _ in pairs),
        statistics.median(peer for _, peer in pairs),
        (statistics.median(ratios), ratios[0], ratios[-1]),
        note,
    )


def _tokens_per_second(batches: Iterator[Batch], step: Callable[[Batch], None]) -> float:
    started, tokens = time.perf_counter(), 0
    for batch in batches:  # making the batch counts: a training waits for it too
        step(batch)
        tokens += batch.n_tokens
    return tokens / (time.perf_counter() - started)


def _our_step(config: Config, vocabulary: int) -> Callable[[Batch], None]:
    torch.manual_seed(0)
    model = build_model(config.model, vocabulary, vocabulary).train()
    optimizer = build_optimizer(model, config.training, CPU)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        accumulate_gradients(model, [batch], config.training, CPU, step=1)
        optimizer.step()

    return step


def _peer_step(vocabulary: int, dropout: float) -> Callable[[Batch], None]:
    torch.manual_seed(0)
    model = TorchTransformer(**SIZE, vocab_size=vocabulary, dropout=dropout, max_length=256).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        peer_step(model, batch.source, batch.target_input, batch.target_output).backward()
        optimizer.step()

    return step


def _dense_batch(seed: int) -> Batch:
    size, length = DENSE["batch"], DENSE["length"]
    generator = torch.Generator().manual_seed(seed)
    source, target_input, target_output = (
        torch.randint(4, VOCABULARY, (size, length), generator=generator) for _ in range(3)
    )
    lengths = torch.full((size,), length)
    return Batch(source, target_input, target_output, lengths, lengths, tuple(range(size)))


def _random_batches(split: EncodedSplit, size: int) -> list[Sequence[int]]:
    order = list(range(len(split)))
    random.Random(0).shuffle(order)
    return [order[start : start + size] for start in range(0, len(order), size)]
