"""Randomness as a function of (seed, stream, counters), never of what happened before.

Each use of chance (initial weights, data order, dropout, …) is a stream with a name. A number is drawn from a
generator seeded with the stream's name and where the training stands. So a resumed run draws what the
uninterrupted run would have drawn, without any generator state in checkpoints; and looking at the model more
often (validating, sampling, capturing attention) cannot change what training draws next.
"""

import hashlib

import torch


def stream_seed(seed: int, stream: str, *counters: int) -> int:
    """Return the 63-bit seed of a stream at a place, e.g. `stream_seed(0, "dropout", step, micro_batch)`."""
    text = f"{seed}/{stream}/{'/'.join(map(str, counters))}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int, stream: str, *counters: int) -> None:
    """Put torch's global generators (CPU and GPU) at the start of a stream."""
    torch.manual_seed(stream_seed(seed, stream, *counters))
