"""Parallel text: plain or gzip, aligned line by line, and every fault of a file named with its place."""

import gzip
from pathlib import Path

import pytest

from stepwise_core.config.schema import DataConfig, ParallelConfig
from stepwise_core.data.dataset import Dataset, Example, load_dataset
from stepwise_core.errors import DataError

SOURCE = ["A dog runs .", "Two cats sleep .", "One bird sings ."]
TARGET = ["Ein Hund rennt .", "Zwei Katzen schlafen .", "Ein Vogel singt ."]


def write(path: Path, lines: list[str], *, packed: bool = False) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def config(folder: Path, **paths: Path) -> DataConfig:
    """Name six good files, or the given ones."""
    files = {}
    for split in ("train", "valid", "test"):
        files[f"{split}_source"] = write(folder / f"{split}.en", SOURCE)
        files[f"{split}_target"] = write(folder / f"{split}.de", TARGET)
    files |= paths
    parallel = ParallelConfig.model_validate({key: str(path) for key, path in files.items()})
    return DataConfig(name="parallel", parallel=parallel)


def load(folder: Path, **paths: Path) -> Dataset:
    return load_dataset(config(folder, **paths))


def failure(folder: Path, **paths: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load(folder, **paths)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6
    assert caught.value.hint
    return caught.value


def test_pairs_are_read_in_order(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert dataset.train == [Example(*pair) for pair in zip(SOURCE, TARGET, strict=True)]
    assert dataset.valid == dataset.test == dataset.train
    assert dataset.remarks == ()


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_gzip_is_recognised_by_content_and_gives_the_same_version(tmp_path: Path, suffix: str) -> None:
    plain = load(tmp_path)
    packed = write(tmp_path / f"packed.en{suffix}", SOURCE, packed=True)
    assert load(tmp_path, train_source=packed).version == plain.version


def test_the_name_is_made_of_folder_and_languages(tmp_path: Path) -> None:
    folder = tmp_path / "multi 30k"
    folder.mkdir()
    packed = write(folder / "train.en.gz", SOURCE, packed=True)
    assert load(folder, train_source=packed).name == "multi-30k-en-de"


def test_relative_paths_start_at_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = load(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load(Path(".")).version == absolute.version


def test_line_ends_byte_order_mark_and_odd_separators(tmp_path: Path) -> None:
    odd = tmp_path / "odd.en"
    odd.write_bytes("\ufeffA dog runs .\r\n  Two\u2028cats sleep .  \r\nOne bird\x0bsings .".encode())
    sources = [example.source for example in load(tmp_path, train_source=odd).train]
    assert sources == ["A dog runs .", "Two\u2028cats sleep .", "One bird\x0bsings ."]


def test_pairs_with_an_empty_side_are_left_out_and_counted(tmp_path: Path) -> None:
    gaps = write(tmp_path / "gaps.en", [SOURCE[0], "   ", SOURCE[2]])
    dataset = load(tmp_path, valid_source=gaps)
    assert dataset.valid == [Example(SOURCE[0], TARGET[0]), Example(SOURCE[2], TARGET[2])]
    assert len(dataset.train) == 3
    (remark,) = dataset.remarks
    assert remark.startswith("valid: pairs with an empty side, left out: 1 ")
    assert str(gaps) in remark


def test_missing_file(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.en"
    assert f"{missing}: no such file" in str(failure(tmp_path, test_source=missing))


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert str(failure(tmp_path, test_source=tmp_path)) == f"{tmp_path}: Is a directory"


def test_unequal_line_counts_name_both(tmp_path: Path) -> None:
    short = write(tmp_path / "short.de", TARGET[:2])
    message = str(failure(tmp_path, train_target=short))
    assert f"{tmp_path / 'train.en'} has 3 lines" in message
    assert f"{short} has 2" in message
    long = write(tmp_path / "long.de", [*TARGET, "", ""])
    assert f"{long} has 5" in str(failure(tmp_path, train_target=long))


@pytest.mark.parametrize("packed", [False, True])
def test_empty_file(tmp_path: Path, packed: bool) -> None:
    empty = write(tmp_path / "empty.en", [], packed=packed)
    assert str(failure(tmp_path, train_source=empty)) == f"{empty}: the file is empty"


def test_no_text_on_one_side(tmp_path: Path) -> None:
    blank = write(tmp_path / "blank.de", ["", "", ""])
    assert "no pair has text on both sides" in str(failure(tmp_path, train_target=blank))


def test_text_that_is_not_utf8_names_line_and_byte(tmp_path: Path) -> None:
    latin = tmp_path / "latin.de"
    latin.write_bytes("Ein Hund .\nEin schöner Tag .\nEnde\n".encode("latin-1"))
    error = failure(tmp_path, train_target=latin)
    assert str(error) == f"{latin}, line 2: not UTF-8 (byte 0xf6 at position 8)"
    assert "iconv" in (error.hint or "")


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"line {number}\n" for number in range(5_000)).encode())
    cut = tmp_path / "cut.en.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    assert f"{cut}, after line" in str(failure(tmp_path, train_source=cut))
    altered = bytearray(whole)
    altered[len(altered) // 2] ^= 0xFF
    cut.write_bytes(bytes(altered))
    assert "damaged gzip file" in str(failure(tmp_path, train_source=cut))
