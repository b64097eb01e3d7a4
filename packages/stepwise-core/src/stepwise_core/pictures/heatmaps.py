"""Attention heatmaps: one small picture per layer and head, rows looking at columns, on one colour scale.

The scale is the same in all pictures, from 0 to 1, so that layers, steps and runs can be compared by eye. It follows
the square root, so that a weight of 0.05 can still be told from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stepwise_core.pictures.files import PictureFormat, save_figure
from stepwise_core.pictures.fonts import families_for, readable_labels
from stepwise_core.pictures.grid import LABEL_POINTS, Grid

CAPTION = "Attention weights show where information may flow, not why the model decided."

_AXES = {
    "encoder": ("source token that looks", "source token looked at"),
    "decoder": ("target token that looks", "target token looked at"),
    "cross": ("target token that looks", "source token looked at"),
}
_UNNAMED_AXES = ("token that looks", "token looked at")
_COLOURS = LinearSegmentedColormap.from_list(
    "attention", ["#ffffff", "#fec98d", "#f1605d", "#9e2f7f", "#440f76", "#0b0724"]
).with_extremes(bad="#e6e8ec")
_INK, _FAINT = "#22252a", "#7a808a"


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of one kind for one example.

    Attributes:
        kind: "encoder", "decoder" (both self-attention) or "cross".
        weights: (layers, heads, queries, keys), each row a distribution over the keys.
        query_tokens: labels of the rows.
        key_tokens: labels of the columns.
    """

    kind: str
    weights: NDArray[np.floating]
    query_tokens: Sequence[str]
    key_tokens: Sequence[str]


def attention_entropy(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """How widely each head looks: 0 bits for one token, log2(n) bits for n tokens alike.

    Args:
        weights: (layers, heads, queries, keys).

    Returns:
        (layers, heads): the entropy in bits, averaged over queries. Rows of zeros (nothing to attend to) are left out.
    """
    weights = np.asarray(weights, dtype=np.float64)
    logs = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    entropy = -(weights * logs).sum(-1)  # (layers, heads, queries)
    attends = weights.sum(-1) > 0
    mean: NDArray[np.float64] = (entropy * attends).sum(-1) / np.maximum(attends.sum(-1), 1)
    return np.abs(mean)  # -0.0 would be printed as "-0.0 bits"


def attention_figure(
    weights: NDArray[np.floating],
    query_tokens: Sequence[str],
    key_tokens: Sequence[str],
    *,
    title: str,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    axis_names: tuple[str, str] = _UNNAMED_AXES,
) -> Figure:
    """Draw a grid of heatmaps, layers down and heads across; the heads of a single layer are wrapped.

    Args:
        weights: (layers, heads, queries, keys); rows sum to 1, or to 0 where nothing may be attended to.
        query_tokens: as many as queries.
        key_tokens: as many as keys. With more tokens than fit, every second, third, … is labelled.
        title: first line of the picture.
        layers: layers to draw, counted from 0; None: all.
        heads: heads to draw, counted from 0; None: all.
        axis_names: what rows and columns are.

    Returns:
        A figure of at most 3600 pixels a side at its dpi, known to no global state.

    Raises:
        ValueError: if shapes do not fit together, or a row is no distribution.
        IndexError: for a layer or head that is not there.
    """
    weights = _checked(weights, query_tokens, key_tokens)
    layers = list(range(weights.shape[0])) if layers is None else list(layers)
    heads = list(range(weights.shape[1])) if heads is None else list(heads)
    chosen = weights[np.ix_(layers, heads)]  # (chosen layers, chosen heads, queries, keys)
    grid = Grid.plan(len(layers), len(heads), readable_labels(query_tokens), readable_labels(key_tokens))
    figure = Figure(figsize=(grid.width, grid.height), dpi=grid.dpi, facecolor="white")
    entropy = attention_entropy(chosen)
    panels = [(layer, head) for layer in range(len(layers)) for head in range(len(heads))]
    image: AxesImage | None = None
    for (layer, head), (row, column) in zip(panels, grid.places(), strict=True):
        axes = figure.add_axes(grid.panel(row, column))
        image = _draw_map(axes, chosen[layer, head])
        axes.set_title(f"head {heads[head]} · {entropy[layer, head]:.2f} bits", fontsize=8, color=_INK, pad=4)
        _label_rows(axes, grid, shown=column == 0)
        _label_columns(axes, grid, shown=grid.is_lowest(row, column))
        if column == 0 and len(layers) > 1:
            _name_layer(figure, grid, row, f"layer {layers[layer]}")
    assert image is not None  # there is at least one layer and one head
    _add_frame(figure, grid, image, title, axis_names)
    return figure


def save_attention(
    maps: AttentionMaps,
    folder: Path,
    formats: Sequence[PictureFormat] = ("png", "svg"),
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> list[Path]:
    """Write `<kind>`, the grid of all layers and heads, and `<kind>-layer-<n>`, one larger picture per layer.

    Args:
        maps: attention of one kind.
        folder: made if missing.
        formats: "png", "svg" or both.
        layers: layers to draw; None: all.
        heads: heads to draw; None: all.

    Returns:
        The paths written, the grid first.

    Raises:
        ValueError, IndexError: as `attention_figure`.
        RunError: if the folder cannot be written.
    """
    numbers = list(range(maps.weights.shape[0])) if layers is None else list(layers)
    axis_names = _AXES.get(maps.kind, _UNNAMED_AXES)
    source, target = " ".join(readable_labels(maps.key_tokens)), " ".join(readable_labels(maps.query_tokens))
    description = f"{maps.kind} attention. Rows: {target}. Columns: {source}. {CAPTION}"
    pictures = {} if len(numbers) == 1 else {maps.kind: numbers}
    pictures |= {f"{maps.kind}-layer-{number}": [number] for number in numbers}
    paths = []
    for name, chosen in pictures.items():
        title = f"{maps.kind.capitalize()} attention" + (f", layer {chosen[0]}" if len(chosen) == 1 else "")
        figure = attention_figure(
            maps.weights,
            maps.query_tokens,
            maps.key_tokens,
            title=title,
            layers=chosen,
            heads=heads,
            axis_names=axis_names,
        )
        paths += save_figure(figure, folder, name, formats, description=description)
    return paths


def _checked(
    weights: NDArray[np.floating], query_tokens: Sequence[str], key_tokens: Sequence[str]
) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 4 or 0 in weights.shape:
        raise ValueError(
            f"attention weights have shape {weights.shape}, expected (layers, heads, queries, keys)"
        )
    if weights.shape[2:] != (len(query_tokens), len(key_tokens)):
        raise ValueError(
            f"attention weights are {weights.shape[2]} x {weights.shape[3]}, "
            f"but there are {len(query_tokens)} query and {len(key_tokens)} key tokens"
        )
    sums = exact.sum(-1)
    # bfloat16 keeps 8 bits, so a row of many weights sums to 1 within about a percent.
    if not (np.isclose(sums, 1, atol=0.02) | (sums == 0)).all() or (exact < 0).any():
        raise ValueError("attention rows must be distributions: not negative, and with sum 1 (or 0)")
    return exact


def _draw_map(axes: Axes, weights: NDArray[np.float64]) -> AxesImage:
    """One heatmap; weights are (queries, keys)."""
    image = axes.imshow(
        np.ma.masked_equal(weights, 0),
        cmap=_COLOURS,
        norm=PowerNorm(0.5, vmin=0, vmax=1),
        aspect="auto",
        interpolation="nearest",
    )
    for spine in axes.spines.values():
        spine.set(color="#b8bcc4", linewidth=0.6)
    axes.tick_params(length=0, pad=2, labelcolor=_INK)
    return image


def _label_rows(axes: Axes, grid: Grid, *, shown: bool) -> None:
    if not shown:
        axes.set_yticks([])
        return
    labels = grid.query_labels[:: grid.query_step]
    positions = range(0, len(grid.query_labels), grid.query_step)
    axes.set_yticks(positions, labels, fontsize=LABEL_POINTS, family=families_for(labels), parse_math=False)


def _label_columns(axes: Axes, grid: Grid, *, shown: bool) -> None:
    if not shown:
        axes.set_xticks([])
        return
    labels = grid.key_labels[:: grid.key_step]
    positions = range(0, len(grid.key_labels), grid.key_step)
    axes.set_xticks(positions, labels, fontsize=LABEL_POINTS, family=families_for(labels), parse_math=False)
    for text, label in zip(axes.get_xticklabels(), labels, strict=True):
        text.set_rotation(0 if grid.is_upright(label) else 90)


def _name_layer(figure: Figure, grid: Grid, row: int, name: str) -> None:
    _, bottom, _, height = grid.panel(row, 0)
    figure.text(
        (0.2 * grid.scale + 0.22) / grid.width,
        bottom + height / 2,
        name,
        rotation=90,
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold",
        color=_INK,
    )


def _add_frame(figure: Figure, grid: Grid, image: AxesImage, title: str, axis_names: tuple[str, str]) -> None:
    """Title, names of the axes, colour bar and caption."""
    scale, left, top = grid.scale, 0.15 / grid.width, 1 - 0.12 / grid.height
    figure.text(
        left,
        top,
        title,
        va="top",
        fontsize=11 * scale,
        fontweight="bold",
        color=_INK,
        family=families_for((title,)),
        parse_math=False,
    )
    step = max(grid.query_step, grid.key_step)
    caption = f"{CAPTION}\nGrey: exactly 0, as where the mask forbids."
    caption += f" Only one token in {step} is labelled." * (step > 1)
    figure.text(left, 0.08 / grid.height, caption, va="bottom", fontsize=6.5 * scale, color=_FAINT)
    faint: dict[str, Any] = {"fontsize": 8 * scale, "color": _FAINT, "ha": "center"}
    rows, columns = axis_names
    middle = (grid.left + grid.right) / 2 / grid.width
    figure.text(middle, 0.43 * scale / grid.height, f"{columns} →", **faint)
    _, lowest, *_ = grid.panel(grid.rows - 1, 0)
    centre = (1 - grid.top / grid.height + lowest) / 2
    figure.text(0.15 * scale / grid.width, centre, f"← {rows}", rotation=90, va="center", **faint)
    bar = figure.colorbar(image, cax=figure.add_axes(grid.colour_bar()), ticks=[0, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.05", "0.2", "0.5", "1"], fontsize=7 * scale)
    bar.ax.tick_params(length=2, color=_FAINT, labelcolor=_INK)
    bar.set_label("attention weight", fontsize=7 * scale, color=_FAINT)
    bar.outline.set_edgecolor("#b8bcc4")
    bar.outline.set_linewidth(0.6)
