"""Names of runs and of the files in them: safe on every file system, whatever the user wrote."""

import re
import zlib
from datetime import datetime
from pathlib import Path

from stepwise_track.errors import cannot_write

MAX_NAME_BYTES = 150
"""Longest safe name: file systems take 255 bytes, and checksum, step and suffix must fit too."""


def safe_name(name: str) -> str:
    """Return a single, visible file name close to `name`: letters and digits of any script, `. _ - + = @`."""
    safe = re.sub(r"[^\w.+=@-]+", "-", name).strip("-.")
    return safe.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip("-.") or "run"


def file_stem(name: str, step: int | None) -> str:
    """Return the file name, without suffix, for something called `name` at a step.

    A name that had to be altered gets a checksum, so that `a/b` and `a-b` do not share a file.
    """
    stem = safe_name(name)
    if stem != name:
        stem += f"-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    return stem if step is None else f"{stem}_{step:08}"


def default_run_name(model_type: str, dataset: str) -> str:
    """Return `{model_type}_{dataset}_{timestamp}`, in local time."""
    return f"{model_type}_{dataset}_{datetime.now():%Y%m%d-%H%M%S}"


def create_run_dir(runs_dir: Path, name: str) -> Path:
    """Create a new folder for a run: `name`, made safe, with `-2`, `-3`, … if it is taken.

    Raises:
        TrackError: if it cannot be created.
    """
    stem, number = safe_name(name), 1
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        while True:
            run_dir = runs_dir / (stem if number == 1 else f"{stem}-{number}")
            try:
                run_dir.mkdir()
                return run_dir
            except FileExistsError:
                number += 1
    except OSError as error:
        raise cannot_write(runs_dir, error) from None
