"""Looking at data before training: what is in it, how it is cut, how long it is. And writing it to files."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepwise_core.config.schema import Config
from stepwise_core.data.dataset import SPLITS, Dataset, load_dataset
from stepwise_core.data.encoding import EncodedSplit, encode_split
from stepwise_core.data.plan import BatchPlan
from stepwise_core.data.tokenizers import UNK, Tokenizer, TokenizerPair, build_tokenizers
from stepwise_core.errors import DataError
from stepwise_core.files import folder_written_atomically, write_atomic

HISTOGRAM_BARS = 8


@dataclass(frozen=True)
class HistogramBar:
    """How many sequences have a length from `first` to `last`, both included."""

    first: int
    last: int
    count: int


@dataclass(frozen=True)
class SideSummary:
    """One side of a split, in tokens with the end mark.

    Attributes:
        mean_length: average length.
        longest: greatest length.
        unknown_ratio: part of the tokens that is `<unk>`.
        histogram: how the lengths are spread.
    """

    mean_length: float
    longest: int
    unknown_ratio: float
    histogram: list[HistogramBar]


@dataclass(frozen=True)
class SplitSummary:
    """One split.

    Attributes:
        n_examples: pairs of texts.
        n_too_long: pairs with a side above model.max_length.
        source: lengths of the sources.
        target: lengths of the targets.
    """

    n_examples: int
    n_too_long: int
    source: SideSummary
    target: SideSummary


@dataclass(frozen=True)
class VocabularySummary:
    """Size of a vocabulary and its fingerprint."""

    size: int
    fingerprint: str


@dataclass(frozen=True)
class DataSummary:
    """All that is to know about the data of a configuration.

    Attributes:
        name: of the dataset.
        version: hash of its content.
        remarks: what was done to it on the way in.
        splits: {split: its summary}.
        tokenizer_type: character, word, bpe or unigram.
        shared_vocabulary: whether source and target have one vocabulary.
        source_vocabulary: of the source side.
        target_vocabulary: of the target side.
        batch_size: as configured.
        batch_by: as configured.
        n_batches: batches in the first epoch.
        padding_ratio: part of the cells of the first epoch that is padding.
    """

    name: str
    version: str
    remarks: tuple[str, ...]
    splits: dict[str, SplitSummary]
    tokenizer_type: str
    shared_vocabulary: bool
    source_vocabulary: VocabularySummary
    target_vocabulary: VocabularySummary
    batch_size: int
    batch_by: str
    n_batches: int
    padding_ratio: float


@dataclass(frozen=True)
class PreparedData:
    """A dataset with its tokenizers and what there is to know about both."""

    dataset: Dataset
    tokenizers: TokenizerPair
    summary: DataSummary


def prepare(config: Config) -> PreparedData:
    """Load the data, learn the tokenizers, and measure. Too long examples are counted, not refused.

    Raises:
        DataError: if the data cannot be made or read.
    """
    dataset = load_dataset(config.data)
    tokenizers = build_tokenizers(config.tokenizer, dataset)
    encoded = {
        name: encode_split(
            dataset.split(name), tokenizers, max_length=sys.maxsize, origin=f"{dataset.name} ({name})"
        )
        for name in SPLITS
    }
    training = config.training
    plan = BatchPlan(
        encoded["train"], batch_size=training.batch_size, batch_by=training.batch_by, seed=training.seed
    )
    summary = DataSummary(
        name=dataset.name,
        version=dataset.version,
        remarks=dataset.remarks,
        splits={name: _summarize(split, config.model.max_length) for name, split in encoded.items()},
        tokenizer_type=config.tokenizer.type,
        shared_vocabulary=tokenizers.shared,
        source_vocabulary=_vocabulary(tokenizers.source),
        target_vocabulary=_vocabulary(tokenizers.target),
        batch_size=training.batch_size,
        batch_by=training.batch_by,
        n_batches=len(plan.epoch(0)),
        padding_ratio=plan.padding_ratio(0),
    )
    return PreparedData(dataset, tokenizers, summary)


def write_prepared(prepared: PreparedData, config: Config, folder: Path) -> None:
    """Write the data as plain files: `train.source`, `train.target` and so on, one text a line, aligned.

    Beside them: the tokenizers, `dataset.json` with the summary, and `config.json`, which is `config` with its data
    read from these files. The folder appears whole or not at all; one that was prepared before is replaced.

    Raises:
        DataError: if the folder holds anything else.
        OSError: if it cannot be written.
    """
    folder = folder.resolve()
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    paths: dict[str, str] = {}
    with folder_written_atomically(folder) as temporary:
        for name in SPLITS:
            examples = prepared.dataset.split(name)
            for side in ("source", "target"):
                file_name = f"{name}.{side}"
                write_atomic(temporary / file_name, "".join(f"{getattr(pair, side)}\n" for pair in examples))
                paths[f"{name}_{side}"] = str(folder / file_name)
        prepared.tokenizers.save(temporary)
        made_from = {"data": config.data.model_dump(mode="json")}
        write_atomic(temporary / "dataset.json", _json({**asdict(prepared.summary), "made_from": made_from}))
        reading = {**config.model_dump(mode="json"), "data": {"name": "parallel", "parallel": paths}}
        write_atomic(temporary / "config.json", _json(reading))


def check_replaceable(folder: Path) -> None:
    """Make sure that writing a prepared dataset to a folder destroys nothing else.

    Raises:
        DataError: if the path is a file, or a folder with other content than a prepared dataset.
    """
    hint = "choose a new folder with --output"
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise DataError(f"{place}: there is a file of that name", hint=hint)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "dataset.json").is_file():
        raise DataError(f"{folder}: the folder holds other files, and would be replaced", hint=hint)


def _summarize(split: EncodedSplit, max_length: int) -> SplitSummary:
    too_long = np.maximum(split.source_lengths, split.target_lengths) > max_length
    return SplitSummary(
        n_examples=len(split),
        n_too_long=int(too_long.sum()),
        source=_side(split.source_ids, split.source_lengths),
        target=_side(split.target_ids, split.target_lengths),
    )


def _side(ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> SideSummary:
    return SideSummary(
        mean_length=float(lengths.mean()),
        longest=int(lengths.max()),
        unknown_ratio=float((ids == UNK).mean()),
        histogram=_histogram(lengths),
    )


def _histogram(lengths: NDArray[np.int64]) -> list[HistogramBar]:
    """Count lengths in at most HISTOGRAM_BARS ranges of equal width."""
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = -(-(longest - shortest + 1) // HISTOGRAM_BARS)  # rounded up
    counts = np.bincount((lengths - shortest) // width).tolist()
    firsts = range(shortest, longest + 1, width)
    return [
        HistogramBar(first, min(first + width - 1, longest), count)
        for first, count in zip(firsts, counts, strict=True)
    ]


def _vocabulary(tokenizer: Tokenizer) -> VocabularySummary:
    return VocabularySummary(tokenizer.vocab_size, tokenizer.fingerprint)


def _json(values: dict[str, object]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
