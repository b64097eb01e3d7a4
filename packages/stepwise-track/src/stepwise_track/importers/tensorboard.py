"""Reads a folder of TensorBoard's event files: scalars, texts, images, histograms, tensors that hold one number."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]
    EventFileLoader,
)
from tensorboard.util import tensor_util  # type: ignore[import-untyped]

from stepwise_track.errors import TrackError
from stepwise_track.events import Event, Histogram, Picture, Scalars, Text
from stepwise_track.files import sha256_of
from stepwise_track.importers import FoundRun, Timed, keep_file


def read(source: str, folder: Path) -> FoundRun:
    """Read all event files below a folder as one run; those of a subfolder have its name before theirs.

    Args:
        source: the folder.
        folder: the run folder that is made.

    Raises:
        TrackError: if there are no event files.
    """
    root = Path(source.removeprefix("tensorboard:"))
    files = sorted(root.rglob("*tfevents*"))
    if not files:
        raise TrackError(f"there are no event files of TensorBoard in {root}", hint="name their folder")
    digest = hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
    events: list[Timed] = []
    for file in files:
        prefix = file.parent.relative_to(root).as_posix()
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                name = value.tag if prefix == "." else f"{prefix}/{value.tag}"
                events += ((event.wall_time, one) for one in _events(name, value, event.step, folder))
    return FoundRun(f"tensorboard:{digest}", root.resolve().name, events)


def _events(name: str, value: Any, step: int, folder: Path) -> Iterator[Event]:
    """Yield what a value of a summary says; the loader has made tensors of all kinds of older files."""
    plugin = value.metadata.plugin_data.plugin_name
    if plugin == "hparams" or not value.HasField("tensor"):
        return
    array = tensor_util.make_ndarray(value.tensor)
    if plugin == "scalars":
        yield Scalars({name: float(array.reshape(-1)[0])}, step)
    elif plugin == "text":
        yield from (Text(name, one.decode("utf-8", "replace"), step) for one in array.reshape(-1))
    elif plugin == "images":
        for image in array.reshape(-1)[2:]:  # width and height come first
            suffix = (
                "png" if image.startswith(b"\x89PNG") else "jpg" if image.startswith(b"\xff\xd8") else "gif"
            )
            yield Picture(
                name, keep_file(folder, f"pictures/{name}_{step:08}.{suffix}", image), "image", step
            )
    elif plugin == "histograms" and len(array):
        edges = [float(array[0][0]), *(float(bucket[1]) for bucket in array)]
        if all(math.isfinite(edge) for edge in edges):
            yield Histogram(name, tuple(edges), tuple(round(float(bucket[2])) for bucket in array), step=step)
