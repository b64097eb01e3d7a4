"""Artifacts from objects: each becomes a file of a kind that any program can read, never a pickle."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepwise_track.errors import TrackError
from stepwise_track.events import FileRef
from stepwise_track.files import as_array, free_place, reference_files
from stepwise_track.naming import file_stem
from stepwise_track.secrets import redact, redact_tree
from stepwise_track.values import as_plain


def save_artifact(run_dir: Path, name: str, value: Any, step: int | None) -> tuple[FileRef, ...]:
    """Keep a value in the run folder and return its references.

    Args:
        run_dir: the run folder.
        name: what it is; the file is called after it.
        value: a path of a file or a folder; text; bytes; an array or a tensor (`.npy`); a mapping, a list or a
            dataclass (`.json`); anything with `to_csv`, such as a DataFrame (`.csv`). A text that looks like a
            path, but is none, is taken for a mistake.
        step: training step, which becomes part of the file's name.

    Raises:
        TrackError: if it is none of these, or there is nothing at a path.
        OSError: if it cannot be written.
    """
    if isinstance(value, Path) or (isinstance(value, str) and _is_path(value)):
        return reference_files(run_dir, value)
    suffix = _suffix(name, value)
    target = run_dir / "artifacts" / (file_stem(name, step) + suffix)
    target.parent.mkdir(exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        _write(part, suffix, value)
        target = free_place(part, target)  # what was logged before under this name keeps its file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return reference_files(run_dir, target)


def _write(path: Path, suffix: str, value: Any) -> None:
    """Write a value as the kind of file that the suffix says."""
    if suffix == ".csv":
        value.to_csv(path)
    elif suffix == ".npy":
        _save_array(path, value)
    elif suffix == ".json":
        text = json.dumps(redact_tree(as_plain(value)), indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    elif suffix == ".txt":
        path.write_text(redact(value), encoding="utf-8", errors="backslashreplace")
    else:
        path.write_bytes(value)


def _is_path(text: str) -> bool:
    """Tell a path from words: there is something at it, or it has a folder or a suffix and no blanks."""
    if "\n" in text or len(text) > 1000:
        return False
    if re.fullmatch(r"\S*[/\\]\S*|\S*\.[A-Za-z]\w{0,9}", text):
        return True
    return bool(text) and Path(text).exists()


def _suffix(name: str, value: Any) -> str:
    """Return the suffix of the file that a value becomes."""
    if hasattr(value, "to_csv"):
        return ".csv"
    if isinstance(value, str):
        return ".txt"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ".bin"
    if hasattr(value, "__array__") or hasattr(value, "detach"):
        return ".npy"
    if isinstance(value, (Mapping, list, tuple, set)) or hasattr(value, "__dataclass_fields__"):
        return ".json"
    if hasattr(value, "model_dump"):
        return ".json"
    raise TrackError(
        f"the artifact {name!r} is {type(value).__name__}, which has no file format of its own",
        hint="save it, then log its path; or give text, bytes, an array, a mapping, a list or a DataFrame",
    )


def _save_array(path: Path, value: Any) -> None:
    import numpy as np

    array = as_array(value)
    if array.dtype.hasobject:
        raise TrackError(
            f"an array of {array.dtype} would need pickle", hint="log it as a list, or convert its elements"
        )
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
