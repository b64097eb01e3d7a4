"""Preparation: the summary tells the truth, and prepared files are the same data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stepwise_core.config import Config, load_config
from stepwise_core.data.dataset import Dataset, Example, load_dataset
from stepwise_core.data.preparation import PreparedData, prepare, write_prepared
from stepwise_core.data.tokenizers import TokenizerPair
from stepwise_core.errors import DataError

SMALL = ["data.n_train=300", "data.n_valid=20", "data.n_test=30", "training.batch_size=16"]


def small_config(*overrides: str) -> Config:
    return load_config(None, [*SMALL, *overrides], {}).config


def written(folder: Path, *overrides: str) -> PreparedData:
    config = small_config(*overrides)
    prepared = prepare(config)
    write_prepared(prepared, config, folder)
    return prepared


def test_the_summary_counts_what_is_there() -> None:
    config = small_config(
        "data.name=addition", "data.toy.min_length=1", "data.toy.max_length=3", "model.max_length=7"
    )
    prepared = prepare(config)
    summary = prepared.summary
    lengths = [len(pair.source) + 1 for pair in prepared.dataset.train]
    train = summary.splits["train"]
    assert (summary.name, summary.version) == ("addition", prepared.dataset.version)
    assert {name: split.n_examples for name, split in summary.splits.items()} == {
        "train": 300,
        "valid": 20,
        "test": 30,
    }
    assert train.source.mean_length == pytest.approx(sum(lengths) / 300)
    assert train.source.longest == max(lengths) == 8
    assert train.n_too_long == lengths.count(8) > 0
    for bar in train.source.histogram:
        assert bar.count == sum(bar.first <= length <= bar.last for length in lengths)
    assert sum(bar.count for bar in train.source.histogram) == 300
    assert train.source.unknown_ratio == 0
    assert summary.source_vocabulary.size == 4 + 10 + 1
    assert summary.shared_vocabulary
    assert summary.n_batches == 19
    assert 0 < summary.padding_ratio < 0.2


def test_unknown_tokens_of_held_out_text_are_reported(tmp_path: Path) -> None:
    written(tmp_path / "base")
    (tmp_path / "base" / "test.source").write_text("Ж 28 January 1975\n")
    (tmp_path / "base" / "test.target").write_text("1975-01-28\n")
    config = load_config(tmp_path / "base", [], {}).config
    test = prepare(config).summary.splits["test"]
    assert test.n_examples == 1
    assert test.source.unknown_ratio == pytest.approx(1 / 18)
    assert test.target.unknown_ratio == 0


def test_long_histograms_are_cut_into_few_bars() -> None:
    summary = prepare(small_config()).summary
    bars = summary.splits["train"].source.histogram
    assert 1 < len(bars) <= 8
    assert [bar.first for bar in bars[1:]] == [bar.last + 1 for bar in bars[:-1]]
    assert bars[-1].last == summary.splits["train"].source.longest


def test_written_files_are_the_same_data(tmp_path: Path) -> None:
    prepared = written(tmp_path / "some" / "dates")
    folder = tmp_path / "some" / "dates"
    config = load_config(folder, [], {}).config
    assert config.data.name == "parallel"
    assert config.training == small_config().training
    again = load_dataset(config.data)
    assert again.version == prepared.dataset.version
    assert again.name == "dates-source-target"
    tokenizers = TokenizerPair.load(folder)
    assert tokenizers.source.fingerprint == prepared.tokenizers.source.fingerprint
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert facts["version"] == prepared.dataset.version
    assert facts["splits"]["train"]["n_examples"] == 300
    assert facts["made_from"]["data"]["name"] == "dates"
    assert [path.name for path in folder.parent.iterdir()] == ["dates"]


def test_a_prepared_folder_is_replaced_and_nothing_old_remains(tmp_path: Path) -> None:
    written(tmp_path / "data", "tokenizer.shared=true")
    assert (tmp_path / "data" / "tokenizer.json").exists()
    prepared = written(
        tmp_path / "data", "tokenizer.shared=false", "model.tie_weights=decoder", "data.seed=5"
    )
    assert not (tmp_path / "data" / "tokenizer.json").exists()
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["version"] == prepared.dataset.version


def test_other_folders_and_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    prepared, config = prepare(small_config()), small_config()
    for place, message in (
        (tmp_path / "thesis", "holds other files"),
        (tmp_path / "file", "there is a file of that name"),
        (tmp_path / "file" / "below", "there is a file of that name"),
    ):
        with pytest.raises(DataError, match=message):
            write_prepared(prepared, config, place)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    write_prepared(prepared, config, tmp_path / "empty")
    assert (tmp_path / "empty" / "train.source").exists()


def test_when_writing_fails_the_old_data_stays(tmp_path: Path) -> None:
    prepared = written(tmp_path / "data")
    unwritable = [Example("\ud800", "half a surrogate pair has no UTF-8")]
    broken = replace(
        prepared,
        dataset=Dataset("dates", prepared.dataset.train, prepared.dataset.valid, unwritable),
    )
    with pytest.raises(UnicodeEncodeError):
        write_prepared(broken, small_config(), tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    config = load_config(tmp_path / "data", [], {}).config
    assert load_dataset(config.data).version == prepared.dataset.version
