"""What a model learns from: pairs of texts in three splits, named by the hash of their content."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from stepwise_core.config.schema import DataConfig
from stepwise_core.errors import DataError

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True, slots=True)
class Example:
    """One pair of texts.

    Attributes:
        source: what the model reads.
        target: what it should write.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Dataset:
    """Examples in three splits.

    Attributes:
        name: short and fit for run names, e.g. `dates` or `multi30k-en-de`.
        train: examples to learn from.
        valid: examples that choose the best checkpoint.
        test: examples for the final score.
        remarks: what was done to the data on the way in, one line each, e.g. pairs left out.
    """

    name: str
    train: list[Example]
    valid: list[Example]
    test: list[Example]
    remarks: tuple[str, ...] = ()

    @cached_property
    def version(self) -> str:
        """First 16 hex digits of a SHA-256 over all texts in their order: same content, same version."""
        digest = hashlib.sha256()
        for name in SPLITS:
            examples = self.split(name)
            digest.update(len(examples).to_bytes(8))
            digest.update(b"".join(_length_prefixed(examples)))
        return digest.hexdigest()[:16]

    def split(self, name: str) -> list[Example]:
        """Return the examples of a split.

        Raises:
            DataError: if `name` is none of train, valid and test.
        """
        if name == "train":
            return self.train
        if name == "valid":
            return self.valid
        if name == "test":
            return self.test
        raise DataError(f"no split {name!r}", hint=f"choose one of {', '.join(SPLITS)}")


def load_dataset(config: DataConfig) -> Dataset:
    """Make or read the dataset that `config.name` names, in the version that `config.version` asks for.

    Raises:
        DataError: if it cannot be made as configured, its files cannot be read, or it is another version.
    """
    from stepwise_core.data.sources import SOURCES  # both import this module
    from stepwise_core.data.versions import load_version

    return SOURCES[config.name].load(config) if config.version is None else load_version(config)


def _length_prefixed(examples: list[Example]) -> Iterator[bytes]:
    """Yield each text after its length, so that moving a border between two texts changes the hash."""
    for example in examples:
        for text in (example.source, example.target):
            encoded = text.encode("utf-8")
            yield len(encoded).to_bytes(8)
            yield encoded
