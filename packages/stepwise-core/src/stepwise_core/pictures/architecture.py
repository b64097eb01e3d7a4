"""The diagram of a model in the manner of the paper's figure 1, with the shapes and parameters it really has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from stepwise_core.models.transformer import Transformer
from stepwise_core.pictures.blueprint import Box, Column, Sublayer, read_blueprint
from stepwise_core.pictures.files import PictureFormat, save_figure
from stepwise_core.pictures.fonts import families_for

_FILL = {
    "embedding": "#f9dfe0",
    "attention": "#fbe3c5",
    "feed_forward": "#cbe6f2",
    "norm": "#f1f3c3",
    "output": "#dcdcf0",
}
_INK, _FAINT, _LINE, _GROUP, _FRAME = "#22252a", "#5f656e", "#3c4048", "#f4f5f7", "#c3c8d0"
_LABEL: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": _INK}
_SMALL: dict[str, Any] = {"fontsize": 7.5, "color": _FAINT}
# Snapping to pixels would shift lines against the arrows that continue them.
_STROKE: dict[str, Any] = {"color": _LINE, "linewidth": 1.0, "snap": False, "zorder": 1}
_ARROW = {
    "arrowstyle": "-|>",
    "color": _LINE,
    "linewidth": 1.0,
    "shrinkA": 0,
    "shrinkB": 0,
    "mutation_scale": 8,
}
# Lengths in inches.
_WIDTH, _HEIGHT, _NORM_HEIGHT, _GAP = 3.1, 0.62, 0.32, 0.34  # boxes, and the arrows between them
_SIDE = 0.27  # how far a residual connection runs beside its box
_RADIUS = 0.12  # of a plus
_ENCODER_X, _MEMORY_X, _DECODER_X = 2.75, 5.3, 7.85
_PAGE_WIDTH = 10.6


def architecture_figure(model: Transformer, title: str) -> Figure:
    """Draw a model: encoder left, decoder right, token ids at the bottom, logits on top.

    Args:
        model: it is run once on a tiny example, and left as it was.
        title: first line of the picture.

    Returns:
        A figure known to no global state.
    """
    blueprint = read_blueprint(model)
    figure = Figure(dpi=150, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    encoder, decoder = _Pen(axes, _ENCODER_X, side=-1), _Pen(axes, _DECODER_X, side=1)
    encoder.column(blueprint.encoder)
    decoder.column(blueprint.decoder)
    _draw_memory(axes, encoder, decoder, blueprint.encoder.shape)
    decoder.arrow(blueprint.decoder.shape)
    decoder.box(blueprint.output)
    decoder.arrow(blueprint.logits_shape)
    axes.text(decoder.x, decoder.y + 0.04, "Logits of the next tokens", ha="center", va="bottom", **_LABEL)
    height = max(encoder.y, decoder.y) + 1.0
    _add_texts(axes, height, title, f"{blueprint.parameters:,} parameters")
    axes.set(xlim=(0, _PAGE_WIDTH), ylim=(0, height))
    figure.set_size_inches(_PAGE_WIDTH, height)
    return figure


def save_architecture(
    model: Transformer, folder: Path, title: str, formats: Sequence[PictureFormat] = ("png", "svg")
) -> list[Path]:
    """Write `architecture` in each format and returns the paths; arguments as `architecture_figure`.

    Raises:
        RunError: if the folder cannot be written.
    """
    description = f"Architecture of {title}: encoder-decoder transformer with shapes and parameter counts"
    return save_figure(
        architecture_figure(model, title), folder, "architecture", formats, description=description
    )


class _Pen:
    """Draw one column upwards.

    Args:
        axes: in inches.
        x: centre of the column.
        side: -1 if residual connections and notes go to the left, 1 for the right.
    """

    def __init__(self, axes: Axes, x: float, side: int) -> None:
        self.axes, self.x, self.side = axes, x, side
        self.y = 0.8
        self.memory_readers: list[float] = []  # heights of the boxes that read the encoder's output

    def column(self, column: Column) -> None:
        """From the token ids to the top of the stack."""
        self.axes.text(self.x, self.y - 0.05, column.inputs, ha="center", va="top", **_LABEL)
        self.arrow()
        self.box(column.embedding)
        if column.positions:
            self.arrow()
            self._positions(column.positions)
        self.arrow(column.embedded_shape)
        bottom = self.y
        self._line((self.x, self.y), (self.x, self.y + 0.12))
        self.y += 0.12
        for number, sublayer in enumerate(column.sublayers):
            if number:
                self._line((self.x, self.y), (self.x, self.y + 0.1))
                self.y += 0.1
            self._sublayer(sublayer)
        self._group(bottom, column)
        if column.final_norm:
            self.arrow()
            self.box(column.final_norm, f"Final {column.final_norm.label}")

    def arrow(self, shape: str = "", length: float = _GAP) -> None:
        """An arrow up, with the shape of what flows along it."""
        self._arrow((self.x, self.y), (self.x, self.y + length))
        self.axes.text(self.x + 0.07, self.y + length / 2 - 0.02, shape, ha="left", va="center", **_SMALL)
        self.y += length

    def box(self, box: Box, label: str = "") -> None:
        """A box on top of what is there; the label replaces the box's own."""
        is_norm = box.kind == "norm"
        height = _NORM_HEIGHT if is_norm else _HEIGHT
        self.axes.add_patch(
            FancyBboxPatch(
                (self.x - _WIDTH / 2, self.y),
                _WIDTH,
                height,
                boxstyle="round,pad=0,rounding_size=0.07",
                facecolor=_FILL[box.kind],
                edgecolor=_LINE,
                linewidth=0.9,
            )
        )
        middle, label = self.y + height / 2, label or box.label
        if is_norm:
            self.axes.text(self.x - 0.12, middle, label, ha="right", va="center", **_LABEL)
            self.axes.text(self.x, middle, box.parameters, ha="left", va="center", **_SMALL)
        else:
            self.axes.text(self.x, middle + 0.17, label, ha="center", va="center", **_LABEL)
            self.axes.text(self.x, middle - 0.01, box.detail, ha="center", va="center", **_SMALL)
            self.axes.text(self.x, middle - 0.18, box.parameters, ha="center", va="center", **_SMALL)
        self.y += height

    def _sublayer(self, sublayer: Sublayer) -> None:
        """The residual connection leaves here, and comes back at the sum."""
        start = self.y
        self.arrow(length=0.26)
        if sublayer.norm_first:
            self.box(sublayer.norm)
            self.arrow(length=0.22)
        if sublayer.reads_memory:
            self.memory_readers.append(self.y + _HEIGHT / 2)
        self.box(sublayer.box)
        self.arrow(length=0.22)
        if sublayer.norm_first:
            edge, middle = self.x + self.side * _RADIUS, self.y + _RADIUS
            self._plus()
        else:
            edge, middle = self.x + self.side * _WIDTH / 2, self.y + _NORM_HEIGHT / 2
            self.box(sublayer.norm, f"Add & {sublayer.norm.label}")
        out = self.x + self.side * (_WIDTH / 2 + _SIDE)
        self._line((self.x, start), (out, start), (out, middle))
        self._arrow((out, middle), (edge, middle))
        self.axes.text(self.x + 0.07, self.y + 0.09, sublayer.shape, ha="left", va="center", **_SMALL)
        self._line((self.x, self.y), (self.x, self.y + 0.18))
        self.y += 0.18

    def _positions(self, words: str) -> None:
        middle = self.y + _RADIUS
        start = self.x + self.side * 0.75
        self._arrow((start, middle), (self.x + self.side * _RADIUS, middle))
        side = "right" if self.side < 0 else "left"
        self.axes.text(start + self.side * 0.06, middle, words, ha=side, va="center", **_SMALL)
        self._plus()

    def _plus(self) -> None:
        self.axes.add_patch(
            Circle((self.x, self.y + _RADIUS), _RADIUS, facecolor="white", edgecolor=_LINE, linewidth=0.9)
        )
        arm, middle = 0.6 * _RADIUS, self.y + _RADIUS
        self._line((self.x - arm, middle), (self.x + arm, middle))
        self._line((self.x, middle - arm), (self.x, middle + arm))
        self.y += 2 * _RADIUS

    def _group(self, bottom: float, column: Column) -> None:
        """The frame around one layer, and how often it is repeated."""
        inner, outer = (
            self.x - self.side * (_WIDTH / 2 + 0.14),
            self.x + self.side * (_WIDTH / 2 + _SIDE + 0.14),
        )
        self._line((self.x, self.y), (self.x, self.y + 0.1))
        self.y += 0.1
        self.axes.add_patch(
            FancyBboxPatch(
                (min(inner, outer), bottom),
                abs(outer - inner),
                self.y - bottom,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=_GROUP,
                edgecolor=_FRAME,
                linewidth=1.1,
                zorder=0,
            )
        )
        repeats, outwards = f"{column.n_layers} ×", "right" if self.side < 0 else "left"
        middle = (bottom + self.y) / 2
        self.axes.text(
            outer + self.side * 0.1, middle, repeats, ha=outwards, va="center", fontsize=13, color=_INK
        )
        words = f"one layer: {column.layer_parameters:,} parameters"
        x = outer + self.side * 0.22
        self.axes.text(x, middle - 0.2, words, rotation=90, ha="center", va="top", **_SMALL)

    def _line(self, *points: tuple[float, float]) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, **_STROKE)

    def _arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.axes.annotate("", end, start, arrowprops=_ARROW, zorder=1)


def _draw_memory(axes: Axes, encoder: _Pen, decoder: _Pen, shape: str) -> None:
    """The encoder's output, on its way into every cross-attention."""
    turn = encoder.y + _GAP
    axes.plot([encoder.x, encoder.x, _MEMORY_X], [encoder.y, turn, turn], **_STROKE)
    axes.text(encoder.x + 0.07, turn - _GAP / 2, shape, ha="left", va="center", **_SMALL)
    axes.text((encoder.x + _MEMORY_X) / 2, turn + 0.05, "memory", ha="center", va="bottom", **_SMALL)
    for reader in decoder.memory_readers:
        axes.plot([_MEMORY_X, _MEMORY_X], [turn, reader], **_STROKE)
        edge = decoder.x - _WIDTH / 2
        axes.annotate("", (edge, reader), (_MEMORY_X, reader), arrowprops=_ARROW, zorder=1)
        axes.text(_MEMORY_X + 0.08, reader + 0.05, "keys, values", ha="left", va="bottom", **_SMALL)
    encoder.y = turn


def _add_texts(axes: Axes, height: float, title: str, total: str) -> None:
    top = height - 0.22
    axes.text(
        0.3,
        top,
        title,
        va="top",
        fontsize=13,
        fontweight="bold",
        color=_INK,
        family=families_for((title,)),
        parse_math=False,
    )
    axes.text(0.3, top - 0.27, total, va="top", fontsize=9.5, color=_FAINT)
    legend = "B batch, S source length, T target length. Each weight is counted once, where it first occurs."
    axes.text(0.3, 0.2, legend, va="center", fontsize=7.5, color=_FAINT)
