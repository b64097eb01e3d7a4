"""Writing figures: PNG for people and trackers, SVG for slides and for zooming in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from matplotlib.figure import Figure

from stepwise_core.errors import RunError, StepwiseError

PictureFormat = Literal["png", "svg"]


def save_figure(
    figure: Figure,
    folder: Path,
    name: str,
    formats: Sequence[PictureFormat] = ("png", "svg"),
    *,
    description: str = "",
) -> list[Path]:
    """Write a figure in each format. Text in an SVG is outlines, so no machine needs the fonts.

    Args:
        figure: the figure; its own dpi sets the pixels of the PNG.
        folder: made if missing.
        name: file name without ending.
        formats: "png", "svg" or both.
        description: what the picture shows, in words, kept in the file for search and screen readers.

    Returns:
        The paths written, in the order of `formats`.

    Raises:
        StepwiseError: for an unknown format.
        RunError: if the folder cannot be written.
    """
    unknown = [wanted for wanted in formats if wanted not in get_args(PictureFormat)]
    if unknown:
        raise StepwiseError(f"unknown picture format {unknown[0]!r}", hint="choose png, svg or png,svg")
    paths = [folder / f"{name}.{ending}" for ending in formats]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, ending in zip(paths, formats, strict=True):
            metadata: dict[str, str | None] = {"Title": name, "Description": description}
            if ending == "svg":
                metadata["Date"] = None  # else the same picture would differ from day to day
            figure.savefig(path, format=ending, dpi=figure.dpi, metadata=metadata)
    except OSError as error:
        where = error.filename or folder
        raise RunError(
            f"cannot write the picture {where}: {error.strerror}", hint="choose another folder with --output"
        ) from error
    return paths
