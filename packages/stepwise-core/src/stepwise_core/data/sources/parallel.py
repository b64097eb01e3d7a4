"""Parallel text: two aligned files per split, one sentence a line, plain or gzip.

Pairs with an empty side teach nothing and are left out; their number is kept in the dataset's remarks.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from stepwise_core.config.schema import DataConfig, ParallelConfig
from stepwise_core.data.dataset import SPLITS, Dataset, Example
from stepwise_core.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def load_parallel(config: DataConfig) -> Dataset:
    """Read the six files of `config.parallel`. Relative paths start at the current directory.

    Raises:
        DataError: if a file is missing, empty, not UTF-8 or damaged, or the two of a split differ in length.
    """
    splits: dict[str, list[Example]] = {}
    remarks: list[str] = []
    for name in SPLITS:
        source = Path(getattr(config.parallel, f"{name}_source"))
        target = Path(getattr(config.parallel, f"{name}_target"))
        splits[name], n_empty = read_pairs(source, target)
        if n_empty:
            remarks.append(f"{name}: pairs with an empty side, left out: {n_empty} ({source}, {target})")
    return Dataset(short_name(config.parallel), **splits, remarks=tuple(remarks))


def read_pairs(source: Path, target: Path) -> tuple[list[Example], int]:
    """Read two aligned files.

    Returns:
        The pairs, and how many were left out because one side or both were empty.

    Raises:
        DataError: if a file is missing, empty, not UTF-8 or damaged, or their numbers of lines differ.
    """
    pairs: list[Example] = []
    n_source = n_target = n_empty = 0
    for source_line, target_line in zip_longest(read_lines(source), read_lines(target)):
        n_source += source_line is not None
        n_target += target_line is not None
        if source_line and target_line:
            pairs.append(Example(source_line, target_line))
        else:
            n_empty += 1
    for path, n_lines in ((source, n_source), (target, n_target)):
        if n_lines == 0:
            raise DataError(f"{path}: the file is empty", hint="give a file with one sentence a line")
    if n_source != n_target:
        raise DataError(
            f"{source} has {n_source} lines, but {target} has {n_target}",
            hint="align the two files: line n of one must translate line n of the other",
        )
    if not pairs:
        raise DataError(f"{source}, {target}: no pair has text on both sides", hint="check the two files")
    return pairs, n_empty


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without surrounding white space. gzip is recognised by its first bytes.

    Raises:
        DataError: if the file is missing, unreadable or damaged, or a line is not UTF-8.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == GZIP_MAGIC
            # Bytes are split at \n alone; text would be split at U+2028 and the like too, and misaligned.
            for number, line in enumerate(gzip.GzipFile(fileobj=raw) if packed else raw, start=1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path}, line {number}: not UTF-8 (byte 0x{byte:02x} at position {error.start + 1})",
            hint=f"convert it, e.g. iconv -f latin1 -t utf-8 {path}",
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}, after line {number}: damaged gzip file ({str(error).rstrip('.')})",
            hint="fetch the file again",
        ) from None
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file", hint="check data.parallel; relative paths start at the current directory"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", hint="check data.parallel") from None


def short_name(config: ParallelConfig) -> str:
    """Return the name of the dataset: multi30k/train.en.gz and multi30k/train.de.gz -> multi30k-en-de."""
    source, target = Path(config.train_source or ""), Path(config.train_target or "")
    folder = source.resolve().parent.name or "parallel"
    ends = [path.name.removesuffix(".gz").rsplit(".", 1)[-1] for path in (source, target)]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([folder, *ends])).strip("-")
