"""Where the panels, labels and margins of a grid of heatmaps go, in inches, so that the labels stay readable.

The cells shrink until the grid fits the largest picture; then labels are thinned, and cells are never left out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.figure import Figure

from stepwise_core.pictures.fonts import families_for

LABEL_POINTS = 7.5
_DPI = 150
_MAX_PIXELS = 3600
_MAX_INCHES = _MAX_PIXELS / _DPI
_LINE = 0.125  # a label's height with the space to the next, at LABEL_POINTS
_GAP = 0.16
_PANEL_TITLE = 0.26
_TOP, _BOTTOM, _RIGHT = 0.42, 0.7, 0.9  # figure title; axis name and caption of two lines; colour bar
_MIN_WIDTH = 5.4  # for the caption
_MIN_PANEL_WIDTH = 1.3  # for "head 12 · 1.23 bits"
_MIN_PANEL_HEIGHT = 0.4
_MIN_ROW_HEIGHT = 1.3  # of all panels together: for the colour bar and the name of the rows
_WRAPPED_COLUMNS = 4


@dataclass(frozen=True)
class Grid:
    """The plan of one figure. Lengths are inches.

    Attributes:
        rows, columns: of panels; the last row may be partly filled.
        n_panels: panels in use.
        panel_width, panel_height: of one heatmap without its title and labels.
        left: margin for row labels.
        scale: of the text around the panels, larger in large pictures.
        query_labels, key_labels: label of each row and column of a heatmap.
        query_step, key_step: 1 if all are written, n if every n-th is.
    """

    rows: int
    columns: int
    n_panels: int
    panel_width: float
    panel_height: float
    left: float
    scale: float
    query_labels: Sequence[str]
    key_labels: Sequence[str]
    query_step: int
    key_step: int

    @classmethod
    def plan(
        cls, n_layers: int, n_heads: int, query_labels: Sequence[str], key_labels: Sequence[str]
    ) -> "Grid":
        """Layers go down and heads across; the heads of a single layer are wrapped."""
        rows, columns = n_layers, n_heads
        if n_layers == 1:
            columns = min(n_heads, _WRAPPED_COLUMNS)
            rows = math.ceil(n_heads / columns)
        cell = 0.36 if n_layers * n_heads == 1 else 0.17
        scale = min(max(columns * cell * len(key_labels), 10), 16) / 10
        left = label_width(query_labels) + (0.45 if n_layers > 1 else 0.2) + 0.2 * scale
        wide = _MAX_INCHES - left - _RIGHT * scale - columns * _GAP
        high = _MAX_INCHES - (_TOP + _BOTTOM) * scale - label_width(key_labels) - rows * (_GAP + _PANEL_TITLE)
        cell = min(cell, wide / columns / len(key_labels), high / rows / len(query_labels))
        width = max(cell * len(key_labels), _MIN_PANEL_WIDTH)
        height = max(cell * len(query_labels), _MIN_PANEL_HEIGHT, _MIN_ROW_HEIGHT / rows)
        return cls(
            rows=rows,
            columns=columns,
            n_panels=n_layers * n_heads,
            panel_width=width,
            panel_height=height,
            left=left,
            scale=scale,
            query_labels=query_labels,
            key_labels=key_labels,
            query_step=math.ceil(_LINE * len(query_labels) / height),
            key_step=math.ceil(_LINE * len(key_labels) / width),
        )

    @property
    def width(self) -> float:
        """Of the figure."""
        return max(_MIN_WIDTH, self.right + _RIGHT * self.scale)

    @property
    def height(self) -> float:
        """Of the figure."""
        return self.top + self._down(self.rows) - _GAP + self._below()

    @property
    def dpi(self) -> float:
        """Dots per inch, lowered where a great number of panels would make the picture too large."""
        return min(_DPI, _MAX_PIXELS / max(self.width, self.height))

    @property
    def top(self) -> float:
        """Of the panels, measured from the top of the figure."""
        return _TOP * self.scale

    @property
    def right(self) -> float:
        """Of the panels, measured from the left of the figure."""
        return self.left + self._across(self.columns) - _GAP

    def _below(self) -> float:
        turned = label_width(
            [label for label in self.key_labels[:: self.key_step] if not self.is_upright(label)]
        )
        return max(turned, _LINE) + 0.1 + _BOTTOM * self.scale

    def _across(self, columns: int) -> float:
        return columns * (self.panel_width + _GAP)

    def _down(self, rows: int) -> float:
        return rows * (_PANEL_TITLE + self.panel_height + _GAP)

    def places(self) -> Iterator[tuple[int, int]]:
        """(row, column) of each panel in use, in reading order."""
        return (divmod(number, self.columns) for number in range(self.n_panels))

    def is_lowest(self, row: int, column: int) -> bool:
        """Whether no panel is below this one, so that it carries the column labels."""
        return (row + 1) * self.columns + column >= self.n_panels

    def panel(self, row: int, column: int) -> tuple[float, float, float, float]:
        """(left, bottom, width, height) of a heatmap, as fractions of the figure."""
        left = self.left + self._across(column)
        top = self.height - self.top - self._down(row) - _PANEL_TITLE
        return self.fractions(left, top - self.panel_height, self.panel_width, self.panel_height)

    def colour_bar(self) -> tuple[float, float, float, float]:
        """(left, bottom, width, height) of the colour bar, beside the top row, as fractions of the figure."""
        height = min(max(self.panel_height, _MIN_ROW_HEIGHT), 4.0)
        bottom = self.height - self.top - _PANEL_TITLE - height
        return self.fractions(self.right + 0.15, bottom, 0.12 * self.scale, height)

    def fractions(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        """Inches as fractions of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def is_upright(self, label: str) -> bool:
        """Whether a column label fits above its neighbours without being turned."""
        return label_width((label,)) < self.key_step * self.panel_width / len(self.key_labels) - 0.02


@lru_cache(maxsize=4096)
def _inches(label: str) -> float:
    figure = Figure(dpi=72)
    text = figure.text(0, 0, label, fontsize=LABEL_POINTS, family=families_for((label,)), parse_math=False)
    return text.get_window_extent().width / 72


def label_width(labels: Sequence[str]) -> float:
    """The width in inches of the widest label at LABEL_POINTS."""
    return max(map(_inches, labels), default=0.0)
