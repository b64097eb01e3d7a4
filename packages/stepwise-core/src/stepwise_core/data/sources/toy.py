"""Toy tasks: small, endless, with a known answer; they show in a minute whether a model can learn at all."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from stepwise_core.config.schema import DataConfig, ToyConfig
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.errors import DataError

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
STREAM = 2  # keeps the toy tasks' random numbers apart from those of other sources with the same seed

ANSWERS: dict[str, Callable[[str], str]] = {
    "copy": lambda text: text,
    "reverse": lambda text: text[::-1],
    "sort": lambda text: "".join(sorted(text)),
    "addition": lambda text: str(sum(map(int, text.split("+")))),
}


def load_toy(config: DataConfig) -> Dataset:
    """Make the toy task `config.name`. No source text occurs twice, so none of the test is seen in training.

    Raises:
        DataError: if the settings allow too few different examples.
    """
    n_examples = config.n_train + config.n_valid + config.n_test
    possible = _n_possible(config.name, config.toy)
    if n_examples > possible // 2:  # beyond that, drawing until all differ takes ever longer
        raise DataError(
            f"data.name {config.name}: {n_examples} examples wanted, but data.toy allows only half of "
            f"{possible} different ones",
            hint="raise data.toy.max_length or data.toy.n_symbols, or lower data.n_train",
        )
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, STREAM]))
    answer = ANSWERS[config.name]
    texts: dict[str, None] = {}  # a dict keeps the order of drawing, a set would not
    while len(texts) < n_examples:
        texts.update(dict.fromkeys(_draw(rng, config.name, config.toy, n_examples)))
    # Shuffled, because short texts run out early and would otherwise all land in the first split.
    sources = np.array(list(texts), dtype=object)[rng.permutation(len(texts))][:n_examples]
    examples = [Example(source, answer(source)) for source in sources]
    valid_end = config.n_train + config.n_valid
    return Dataset(
        config.name, examples[: config.n_train], examples[config.n_train : valid_end], examples[valid_end:]
    )


def _draw(rng: Generator, task: str, toy: ToyConfig, n: int) -> list[str]:
    """Draw n source texts."""
    if task != "addition":
        return _draw_strings(rng, ALPHABET[: toy.n_symbols], toy.min_length, toy.max_length, n)
    left, right = _draw_numbers(rng, toy, n), _draw_numbers(rng, toy, n)
    return [f"{a}+{b}" for a, b in zip(left, right, strict=True)]


def _draw_numbers(rng: Generator, toy: ToyConfig, n: int) -> list[str]:
    """Draw n decimal numbers without leading zeros."""
    first = _draw_strings(rng, "123456789", 1, 1, n)
    rest = _draw_strings(rng, "0123456789", toy.min_length - 1, toy.max_length - 1, n)
    return [a + b for a, b in zip(first, rest, strict=True)]


def _draw_strings(rng: Generator, symbols: str, shortest: int, longest: int, n: int) -> list[str]:
    """Draw n strings, their lengths uniform between the limits."""
    lengths = rng.integers(shortest, longest, size=n, endpoint=True)
    drawn = rng.integers(0, len(symbols), size=int(lengths.sum()))
    text = "".join(np.array(list(symbols))[drawn])
    ends = np.cumsum(lengths)
    return [text[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _n_possible(task: str, toy: ToyConfig) -> int:
    """Count the different source texts that the settings allow."""
    if task == "addition":
        n_numbers = 10**toy.max_length - 10 ** (toy.min_length - 1)
        return int(n_numbers * n_numbers)
    return int(sum(toy.n_symbols**length for length in range(toy.min_length, toy.max_length + 1)))
