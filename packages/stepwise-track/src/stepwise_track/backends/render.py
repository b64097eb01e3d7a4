"""Plain values in the shape that trackers take them: merged and flat parameters, words for NaN, names of files."""

import copy
import math
from collections.abc import Mapping, Sequence
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

from stepwise_track.events import FileRef

WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""How the numbers that JSON lacks are written; JavaScript reads the same words."""


def as_word(value: Any) -> Any:
    """Return a value of any depth with words in the place of NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return WORDS[repr(value)]
    if isinstance(value, Mapping):
        return {str(key): as_word(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_word(item) for item in value]
    return value


def merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add parameters to those before, in place; the leaves of the added ones win."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = copy.deepcopy(value)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by their path: `{"model.d_model": 64}`. An empty mapping is a leaf."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def names_within(files: Sequence[FileRef]) -> list[str]:
    """Return the names of files below the deepest folder that holds them all."""
    paths = [PurePosixPath(file.path) for file in files]
    root = commonpath([str(path.parent) for path in paths]) if paths else ""
    return [path.relative_to(root).as_posix() for path in paths]
