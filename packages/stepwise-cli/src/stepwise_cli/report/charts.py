"""Curves as SVG: which belong into one chart, how many points are drawn, where they lie."""

import math
from dataclasses import dataclass

from stepwise_track.reader import Point

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 440, 220, 66, 22, 8
"""Size of a chart and of the room for its labels, in pixels."""

POINTS = 400
"""Most points of a curve that are drawn: more than that could not be told apart."""

SPLITS = ("train", "validation", "test")
"""Series of these groups share a chart, `train/loss` and `validation/loss` for instance."""

DETAILS = ("machine", "stepwise", "gradient_norm", "epoch")
"""Groups of series that are folded away at first."""

Series = dict[str, dict[str, list[Point]]]
"""Points by series name, by run."""


@dataclass(frozen=True)
class Line:
    """A drawn curve: whose, its place among the colours, its dashes, its SVG path, its points for the hover."""

    label: str
    color: int
    dash: str
    path: str
    points: list[tuple[float, float]]
    not_finite: int


@dataclass(frozen=True)
class Chart:
    """A chart: lines over one x axis. Ticks are (position in pixels, label)."""

    title: str
    axis: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    bounds: tuple[float, float, float, float]
    is_detail: bool


def charts(series: Series) -> list[Chart]:
    """Arrange curves in charts: the main ones first, then by name.

    Args:
        series: the curves of every run.
    """
    found: dict[str, list[tuple[int, str, str, list[Point]]]] = {}
    for color, (run, curves) in enumerate(series.items()):
        for name, points in curves.items():
            split, _, rest = name.partition("/")
            title = rest if split in SPLITS and rest else name
            found.setdefault(title, []).append((color, run, name, points))
    drawn = [_chart(title, lines, several=len(series) > 1) for title, lines in found.items()]
    return sorted(
        (one for one in drawn if one), key=lambda one: (one.is_detail, one.title != "loss", one.title)
    )


def _chart(title: str, lines: list[tuple[int, str, str, list[Point]]], *, several: bool) -> Chart | None:
    """Draw one chart; None if it has no finite point."""
    thinned = [(color, run, name, thin(points)) for color, run, name, points in lines]
    xs = [x for *_, points in thinned for x, _ in points]
    ys = [y for *_, points in thinned for _, y in points]
    if not xs:
        return None
    bounds = (*_widened(min(xs), max(xs)), *_widened(min(ys), max(ys)))
    drawn = []
    for (color, run, name, points), (*_, original) in zip(thinned, lines, strict=True):
        split = name.partition("/")[0]
        second = split in SPLITS[1:]
        missing = sum(not math.isfinite(value) for _, value, _ in original)
        label = " · ".join(filter(None, [run if several else "", name]))
        shade = color if several else int(second)
        drawn.append(Line(label, shade % 8, "5 3" if second else "", _path(points, bounds), points, missing))
    group = lines[0][2].partition("/")[0]
    axis = {"epoch": "epoch", "machine": "seconds", "stepwise": "seconds"}.get(group, "step")
    x_ticks = [(_x(value, bounds), f"{value:.4g}") for value in (bounds[0], bounds[1])]
    middle = bounds[2] / 2 + bounds[3] / 2
    y_ticks = [(_y(value, bounds), f"{value:.3g}") for value in (bounds[2], middle, bounds[3])]
    return Chart(title, axis, drawn, x_ticks, y_ticks, bounds, group in DETAILS)


def thin(points: list[Point]) -> list[tuple[float, float]]:
    """Keep at most about `POINTS` finite points: of each stretch lowest and highest, so no peak is lost."""
    kept = [(float(x), float(y)) for x, y, _ in points if math.isfinite(y) and math.isfinite(x)]
    if len(kept) <= POINTS:
        return kept
    stretches = POINTS // 2
    chosen: list[tuple[float, float]] = []
    for index in range(stretches):
        part = kept[index * len(kept) // stretches : (index + 1) * len(kept) // stretches]
        ends = {part.index(min(part, key=lambda one: one[1])), part.index(max(part, key=lambda one: one[1]))}
        chosen += [part[place] for place in sorted(ends)]
    return chosen


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return bounds that are not the same."""
    return (low, high) if high > low else (low - abs(low) / 10 - 0.5, high + abs(high) / 10 + 0.5)


def _x(value: float, bounds: tuple[float, float, float, float]) -> float:
    share = (value / 2 - bounds[0] / 2) / (bounds[1] / 2 - bounds[0] / 2)  # halves: differences stay finite
    return round(LEFT + share * (WIDTH - LEFT - 8), 1)


def _y(value: float, bounds: tuple[float, float, float, float]) -> float:
    share = (value / 2 - bounds[2] / 2) / (bounds[3] / 2 - bounds[2] / 2)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _path(points: list[tuple[float, float]], bounds: tuple[float, float, float, float]) -> str:
    places = [f"{_x(x, bounds)} {_y(y, bounds)}" for x, y in points]
    if len(places) == 1:  # a dot: a line of no length with round ends
        places *= 2
    return "M" + "L".join(places) if places else ""
