"""Files of a run: hashes and references, and how pictures and checkpoints get into the run folder.

A copy of the run folder must be a copy of the run, so a file from outside is copied in. Files appear whole or
not at
all: they are written beside their place and moved there.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwise_track.errors import TrackError
from stepwise_track.events import FileRef
from stepwise_track.naming import file_stem, safe_name

if TYPE_CHECKING:
    import numpy as np

CHECKPOINT_MARK = {"format": "pt", "written_by": "stepwise-track"}
"""safetensors metadata of the checkpoints written here: only those are ever replaced."""


def reference_files(run_dir: Path, path: Path | str) -> tuple[FileRef, ...]:
    """Return references to a file, or to every file of a folder; one outside the run folder is copied in.

    Args:
        run_dir: the run folder.
        path: a file or a folder; relative to the current directory.

    Raises:
        TrackError: if there is nothing at `path`.
        OSError: if it cannot be read or copied.
    """
    root, place = run_dir.resolve(), Path(path).resolve()
    if not place.exists():
        raise TrackError(f"there is no file or folder {path}", hint="write it first, then log it")
    if not place.is_relative_to(root):
        place = _copy_in(place, root / "artifacts")
    files = sorted(item for item in place.rglob("*") if item.is_file()) if place.is_dir() else [place]
    if not files:
        raise TrackError(f"the folder {path} is empty", hint="write its files first, then log it")
    return tuple(
        FileRef(file.relative_to(root).as_posix(), sha256_of(file), file.stat().st_size) for file in files
    )


def _copy_in(source: Path, folder: Path) -> Path:
    """Copy a file or a folder to `folder`; another content of the same name stays beside it."""
    folder.mkdir(exist_ok=True)
    target = free_place(source, folder / safe_name(source.name))
    if not target.exists():
        with whole_or_nothing(target) as part:
            if source.is_dir():
                shutil.copytree(source, part)
            else:
                shutil.copyfile(source, part)
    return target


def free_place(source: Path, target: Path) -> Path:
    """Return `target`, or the same with a number if something else than the content of `source` is there."""
    stem, number = target.stem, 1
    while target.exists() and not _same_content(source, target):
        number += 1
        target = target.with_name(f"{stem}-{number}{target.suffix}")
    return target


def _same_content(one: Path, other: Path) -> bool:
    """Compare two files; two folders always differ, so that none is read twice for a rare case."""
    return one.is_file() and other.is_file() and sha256_of(one) == sha256_of(other)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_or_nothing(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; move it to `target` at the end, remove it after an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        yield part
        part.replace(target)
    except BaseException:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        raise


def save_picture(run_dir: Path, name: str, picture: Any, step: int | None) -> FileRef:
    """Keep a picture in the run folder and return its reference.

    Args:
        run_dir: the run folder.
        name: what it shows.
        picture: a path, a matplotlib figure, a plotly figure (kept as its JSON), a Pillow image, or an array:
            [H, W], [H, W, 3] or [H, W, 4]; uint8, or float from 0 to 1.
        step: training step, which becomes part of the file's name.

    Raises:
        TrackError: if it is none of these.
        OSError: if it cannot be written.
    """
    if isinstance(picture, (str, Path)):
        return reference_files(run_dir, picture)[0]
    suffix = ".json" if hasattr(picture, "to_plotly_json") else ".png"
    target = run_dir / "pictures" / (file_stem(name, step) + suffix)
    with whole_or_nothing(target) as part:
        if hasattr(picture, "to_plotly_json"):
            part.write_text(picture.to_json(), encoding="utf-8")
        elif hasattr(picture, "savefig"):
            picture.savefig(part, bbox_inches="tight")
        else:
            _as_image(name, picture).save(part)
    return reference_files(run_dir, target)[0]


def _as_image(name: str, picture: Any) -> Any:
    """Return a Pillow image of an image or an array."""
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    import numpy as np

    pixels = as_array(picture)
    if pixels.dtype.kind == "f":
        pixels = np.clip(np.nan_to_num(pixels) * 255 + 0.5, 0, 255)
    if pixels.dtype.kind not in "fiub" or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    ):
        raise TrackError(
            f"{name!r} is no picture: an array of shape {list(pixels.shape)} and type {pixels.dtype}",
            hint="give a path, a figure, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4]",
        )
    return Image.fromarray(pixels.astype(np.uint8))


def as_array(values: Any) -> "np.ndarray[Any, Any]":
    """Return a NumPy array of an array, a list, or a torch tensor on any device and of any dtype."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def save_checkpoint(model: Any, optimizer: Any, path: Path) -> None:
    """Save weights, and beside them the optimiser's state, as safetensors; never as pickle.

    `path` holds the model's `state_dict` (`safetensors.torch.load_model` reads it),
    `<stem>.optimizer.safetensors` the optimiser's tensors as `<parameter>.<name>`, with `param_groups` and
    plain numbers in its metadata. A file at `path` that was not written here stays untouched: the caller
    saved it and wants it recorded.

    Raises:
        TrackError: if safetensors is not installed.
        OSError: if it cannot be written.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file, save_model
    except ImportError:
        raise TrackError(
            f"saving {path} needs safetensors", hint="pip install 'stepwise-track[checkpoints]'"
        ) from None
    if path.exists() and not _is_own_checkpoint(path):
        return
    try:
        with whole_or_nothing(path) as part:
            save_model(model, str(part), metadata=dict(CHECKPOINT_MARK))
        if optimizer is not None:
            tensors, metadata = _optimizer_state(optimizer)
            with whole_or_nothing(optimizer_path(path)) as part:
                save_file(tensors, str(part), metadata=metadata)
    except SafetensorError as error:  # its way to pass on what the operating system said
        raise OSError(str(error)) from error


def optimizer_path(path: Path) -> Path:
    """Return where `save_checkpoint` puts the optimiser's state."""
    return path.with_name(f"{path.stem}.optimizer.safetensors")


def _is_own_checkpoint(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return CHECKPOINT_MARK.items() <= (file.metadata() or {}).items()
    except (SafetensorError, OSError):
        return False


def _optimizer_state(optimizer: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Split an optimiser's `state_dict` into tensors and JSON."""
    state = optimizer.state_dict()
    tensors, numbers = {}, {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            if hasattr(value, "contiguous"):
                tensors[f"{parameter}.{name}"] = value.contiguous()
            else:
                numbers[f"{parameter}.{name}"] = value
    groups = json.dumps(state["param_groups"], default=str)
    return tensors, CHECKPOINT_MARK | {"param_groups": groups, "numbers": json.dumps(numbers, default=str)}
