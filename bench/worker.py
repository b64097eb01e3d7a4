"""One side of a training benchmark, in a process of its own."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import torch

from peer import TorchTransformer, peer_loss
from stepwise_core.config import Config
from stepwise_core.data.batches import Batch, EncodedSplit, collate
from stepwise_core.models import build_model
from stepwise_core.training.device import prepare_torch
from stepwise_core.training.optimizer import build_optimizer
from stepwise_core.training.step import accumulate_gradients


@dataclass(frozen=True)
class Side:
    """What a worker trains on.

    Attributes:
        is_ours: stepwise, else torch.nn.Transformer.
        config: the architecture of both, and our training settings.
        vocab_size: V of both sides.
        split: encoded examples.
        batches: which examples make up which batch.
        threads: CPU threads.
    """

    is_ours: bool
    config: Config
    vocab_size: int
    split: EncodedSplit
    batches: Sequence[Sequence[int]]
    threads: int


class Worker:
    """Trains one side on command and tells its speed.

    Args:
        side: what to train.
    """

    def __init__(self, side: Side) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(side, theirs), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def measure(self) -> float:
        """Train on all batches once; return useful tokens per second, making the batches included."""
        self._pipe.send(None)
        speed: float = self._pipe.recv()
        return speed


def _serve(side: Side, pipe: Connection) -> None:
    torch.set_num_threads(side.threads)
    step = _our_step(side) if side.is_ours else _peer_step(side)
    while True:
        pipe.recv()
        started, tokens = time.perf_counter(), 0
        for indices in side.batches:
            batch = collate(side.split, tuple(indices))
            step(batch)
            tokens += batch.n_tokens
        pipe.send(tokens / (time.perf_counter() - started))


def _our_step(side: Side) -> Callable[[Batch], None]:
    """Return a training step as `stepwise train` does it."""
    training = side.config.training
    device = prepare_torch(training)
    model = build_model(side.config.model, side.vocab_size, side.vocab_size).train()
    optimizer = build_optimizer(model, training, device)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        accumulate_gradients(model, [batch], training, device, step=1)
        optimizer.step()

    return step


def _peer_step(side: Side) -> Callable[[Batch], None]:
    """Return a training step as a usual script does it."""
    size, training = side.config.model, side.config.training
    model = TorchTransformer(
        size.d_model,
        size.n_heads,
        size.n_layers,
        size.feed_forward_width,
        side.vocab_size,
        size.dropout,
        size.max_length,
    ).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, betas=training.betas, eps=training.eps, fused=True
    )

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        peer_loss(model, batch.source, batch.target_input, batch.target_output).backward()
        optimizer.step()

    return step
