"""Training curves: loss on top, and below it learning rate, gradient norm, speed and every other metric.

Series are named as in the journal. `train/loss` and `validation/loss` share the panel "loss". The parts of one thing,
such as `train/gradient_norm/encoder.layers.0` and its neighbours, share a panel too.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from stepwise_core.pictures.files import PictureFormat, save_figure
from stepwise_core.pictures.fonts import families_for, readable_label

Points = Sequence[tuple[float, float]]

_SPLITS = ("train", "validation", "test")
_FIRST_PANELS = ("loss", "learning_rate", "gradient_norm", "tokens_per_second")
_COLOURS = {"train": "#3b6fb6", "validation": "#d9822b", "test": "#5a9367"}
_MANY_COLOURS = colormaps["turbo"]
_INK, _FAINT, _ALARM = "#22252a", "#7a808a", "#c0392b"
_MAX_PANELS = 15
_MAX_NAMES = 12  # in a legend
_LOG_RATIO = 30  # a loss that falls from 4 to 0.02 is a flat line for most of a linear axis
_SMOOTHED_FROM = 40
_MANY_POINTS = 5000


def training_curves_figure(series: Mapping[str, Points], title: str) -> Figure:
    """Draw the course of a run: raw values thin, a running mean thick, validation as markers.

    Args:
        series: (step, value) points by series name, as the journal has them. A step that occurs twice, as after a
            resume, counts with its last value. Values that are NaN or infinite are marked in red.
        title: first line of the picture.

    Returns:
        A figure known to no global state. Without any point it says so.
    """
    panels = _panels(series)
    rows = 1 + math.ceil((len(panels) - 1) / 2) if panels else 1
    figure = Figure(
        figsize=(10, 0.9 + 3.3 + 2.2 * (rows - 1)), dpi=130, facecolor="white", layout="constrained"
    )
    figure.suptitle(
        title,
        x=0.012,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=_INK,
        family=families_for((title,)),
        parse_math=False,
    )
    if not panels:
        figure.text(0.5, 0.5, "no metrics yet", ha="center", va="center", fontsize=11, color=_FAINT)
        return figure
    grid = figure.add_gridspec(rows, 2, height_ratios=[3.3] + [2.2] * (rows - 1))
    for number, (name, lines) in enumerate(panels.items()):
        place = grid[0, :] if number == 0 else grid[(number + 1) // 2, (number + 1) % 2]
        _draw_panel(figure.add_subplot(place), name, lines)
    hidden = len(_grouped(series)) - len(panels)
    if hidden:
        figure.supxlabel(f"{hidden} more groups of series are not shown", fontsize=8, color=_FAINT)
    return figure


def save_training_curves(
    series: Mapping[str, Points], folder: Path, title: str, formats: Sequence[PictureFormat] = ("png", "svg")
) -> list[Path]:
    """Write `training-curves` in each format and returns the paths; arguments as `training_curves_figure`.

    Raises:
        RunError: if the folder cannot be written.
    """
    description = f"Training curves: {', '.join(sorted(series))}"
    return save_figure(
        training_curves_figure(series, title), folder, "training-curves", formats, description=description
    )


def _grouped(series: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    """{panel: {line: points}}; empty series are left out. The panel of the parts of x is named "x/"."""
    groups: dict[str, dict[str, Points]] = {}
    for name, points in sorted(series.items()):
        if not points:
            continue
        split, _, rest = name.partition("/")
        if split not in _SPLITS or not rest:
            split, rest = "train", name
        panel, slash, part = rest.partition("/")
        line = part if split == "train" else f"{split} {part}".strip()
        groups.setdefault(panel + slash, {})[line or split] = points
    return groups


def _panels(series: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    groups = _grouped(series)
    names = [name for name in _FIRST_PANELS if name in groups]
    names += sorted((name for name in groups if name not in names), key=lambda name: name.endswith("/"))
    return {name: groups[name] for name in names[:_MAX_PANELS]}


def _draw_panel(axes: Axes, name: str, lines: Mapping[str, Points]) -> None:
    finite, handles = [np.zeros(0)], []
    broken: list[int] = []
    for number, (line, points) in enumerate(lines.items()):
        steps, values = _columns(points)
        good = np.isfinite(values)
        broken += steps[~good].astype(int).tolist()
        finite.append(values[good])
        if good.any():
            colour = _COLOURS.get(line) or to_hex(_MANY_COLOURS((number + 0.5) / len(lines)))
            draw = _draw_markers if line in ("validation", "test") else _draw_line
            handles.append(draw(axes, line, steps, values, colour))
    _style(axes, name, np.concatenate(finite))
    if broken:
        label = f"NaN or infinite: {len(broken)}, first at step {min(broken)}"
        heights = [0.03] * len(broken)
        bottom = axes.get_xaxis_transform()
        handles += axes.plot(broken, heights, "x", color=_ALARM, transform=bottom, clip_on=False, label=label)
    families = families_for([str(handle.get_label()) for handle in handles])
    legend = axes.legend(
        handles=handles[-_MAX_NAMES:],
        ncols=1 + (len(handles) > 5),
        prop={"family": families, "size": 7.5},
        labelcolor=_INK,
        framealpha=0.8,
        edgecolor="none",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _columns(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps in order and their values; of a repeated step the last value."""
    ordered = sorted(dict(points).items())
    steps, values = zip(*ordered, strict=True)
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def _draw_markers(
    axes: Axes, line: str, steps: NDArray[np.float64], values: NDArray[np.float64], colour: str
) -> Line2D:
    """A series of few, exact points; the returned line stands for it in the legend."""
    finite = np.where(np.isfinite(values), values, np.nan)
    low, high = int(np.nanargmin(finite)), int(np.nanargmax(finite))
    label = f"{line} {_number(finite[~np.isnan(finite)][-1])}"
    if low != high:
        lowest, highest = _number(values[low]), _number(values[high])
        label += f" (lowest {lowest} at {steps[low]:.0f}, highest {highest} at {steps[high]:.0f})"
    return axes.plot(steps, values, "o-", color=colour, markersize=4, linewidth=1.1, label=label, zorder=3)[0]


def _draw_line(
    axes: Axes, line: str, steps: NDArray[np.float64], values: NDArray[np.float64], colour: str
) -> Line2D:
    """A series of many, noisy points; the returned line stands for it in the legend."""
    good = np.isfinite(values)
    label = f"{readable_label(line, 40)} {_number(values[good][-1])}"
    marker = "o" if good.sum() == 1 else None
    if len(values) > _SMOOTHED_FROM:
        # In an SVG, a line of very many points becomes an image.
        axes.plot(
            steps, values, color=colour, linewidth=0.7, alpha=0.35, rasterized=len(values) > _MANY_POINTS
        )
        values = _running_mean(values)
    return axes.plot(steps, values, color=colour, marker=marker, linewidth=1.6, label=label)[0]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the finite values among the fortieth of all points that lies around each."""
    good = np.isfinite(values)
    window = np.ones(2 * (len(values) // 80) + 1)
    totals = np.convolve(np.where(good, values, 0.0), window, mode="same")
    counts = np.convolve(good.astype(float), window, mode="same")
    mean: NDArray[np.float64] = np.divide(
        totals, counts, out=np.full_like(values, np.nan), where=counts > 0.5
    )
    return mean


def _style(axes: Axes, name: str, values: NDArray[np.float64]) -> None:
    """Title, scales and ticks; values are the finite ones of all lines."""
    parts = name.endswith("/")
    shown = (
        readable_label(name.removesuffix("/").replace("_", " "), 60).replace("␣", " ") + " by part" * parts
    )
    per_epoch = name == "epoch/"
    if per_epoch:
        shown = "per epoch"
    if not values.size:
        axes.set_yticks([])
    elif name == "loss" and values.min() > 0 and values.max() / values.min() > _LOG_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        shown += " (log)"
    elif np.abs(values).max() >= 10_000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_title(
        shown, loc="left", fontsize=9.5, color=_INK, family=families_for((shown,)), parse_math=False
    )
    axes.set_xlabel("epoch" if per_epoch else "step", fontsize=8, color=_FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.margins(x=0.02)
    axes.tick_params(labelsize=8, colors=_INK, length=3)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b8bcc4")
