"""From the journal's events to what ClearML shows: scalars, single values, plots, debug samples, console."""

import json
import math
from typing import Any

from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.events import Console, Histogram, Scalars, SingleValues, Table, Text

SINGLE_VALUE = -(2**31)
"""The iteration that marks a value without a graph."""

SPLITS = ("train", "validation", "test")
"""Series of these groups are drawn in one graph for each quantity: `train/loss` and `validation/loss` below `loss`."""

Event = dict[str, Any]


def title_and_series(name: str) -> tuple[str, str]:
    """Return ClearML's title (the graph) and series (the curve) for a series name of ours."""
    group, slash, rest = name.partition("/")
    if not slash:
        return name, name
    if group in SPLITS:
        return rest, group
    if group == "machine":
        return (":monitor:gpu" if rest.startswith("gpu") else ":monitor:machine"), rest
    return group, rest


def milliseconds(record: Delivery) -> int:
    """Return when a record was logged, as ClearML counts."""
    return round(record.time * 1000)


def scalars(record: Delivery, event: Scalars, run: RunContext) -> list[Event]:
    """Return the points of curves. Those without a place become single values: no graph with a lone point."""
    place = event.place
    if place is None:
        return single_values(record, event.values, run)
    if event.axis != "seconds" and not float(place).is_integer():
        run.degrade("scalars", "x rounded: ClearML's iterations are whole numbers")
    points = []
    for name, value in event.values.items():
        title, series = title_and_series(name)
        if not math.isfinite(value):
            points.append(_not_finite(record, f"{name} at {event.axis} {place}", value, run))
            continue
        point = {"metric": title, "variant": series, "iter": round(place), "value": value}
        if event.axis != "step":
            point["x_axis_label"] = event.axis
        points.append(_event(record, "training_stats_scalar", **point))
    return points


def single_values(record: Delivery, values: SingleValues | dict[str, Any], run: RunContext) -> list[Event]:
    """Return values without a graph."""
    found = []
    for name, value in (values.values if isinstance(values, SingleValues) else values).items():
        if math.isfinite(value):
            point = {"metric": "Summary", "variant": name, "iter": SINGLE_VALUE, "value": value}
            found.append(_event(record, "training_stats_scalar", **point))
        else:
            found.append(_not_finite(record, name, value, run))
    return found


def _not_finite(record: Delivery, what: str, value: float, run: RunContext) -> Event:
    """Return a line of the console in place of a point that no ClearML server can hold."""
    run.degrade("scalars", "NaN and infinities as lines of the console: ClearML cannot hold them")
    return console(record, f"{what} is {value}", level="WARNING")


def console(record: Delivery, text: str, *, level: str = "INFO") -> Event:
    """Return lines of the console."""
    return _event(record, "log", msg=text, level=level)


def printed(record: Delivery, event: Console) -> Event:
    """Return what the program printed."""
    lost = f"[{event.dropped} lines left out]\n" if event.dropped else ""
    return console(record, lost + event.text, level="ERROR" if event.stream == "stderr" else "INFO")


def text(record: Delivery, event: Text) -> Event:
    """Return a text with its name, its step and what belongs to it, for the console."""
    place = "" if event.step is None else f" (step {event.step})"
    info = "".join(f"\n  {key}: {value}" for key, value in (event.info or {}).items())
    return console(record, f"{event.name}{place}:{info}\n{event.text}")


def table(record: Delivery, event: Table) -> Event:
    """Return a table, as the plot that ClearML shows tables as."""
    cells = [[_cell(row[index]) for row in event.rows] for index in range(len(event.columns))]
    figure = {
        "data": [{"type": "table", "header": {"values": list(event.columns)}, "cells": {"values": cells}}],
        "layout": {"title": event.name, "margin": {"t": 40, "b": 10}},
    }
    return plot(record, event.name, event.name, figure, event.step)


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def histogram(record: Delivery, event: Histogram) -> Event:
    """Return a histogram as bars between its edges."""
    middles = [(low + high) / 2 for low, high in zip(event.edges, event.edges[1:], strict=False)]
    widths = [high - low for low, high in zip(event.edges, event.edges[1:], strict=False)]
    bars = {"type": "bar", "x": middles, "y": list(event.counts), "width": widths, "name": event.name}
    figure = {"data": [bars], "layout": {"title": event.name, "bargap": 0, "xaxis": {"title": "value"}}}
    title, series = title_and_series(event.name)
    return plot(record, title, series, figure, event.step)


def picture_plot(record: Delivery, name: str, url: str, size: tuple[int, int], step: int | None) -> Event:
    """Return a figure that shows an uploaded picture."""
    width, height = size
    picture = {"source": url, "xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": width, "sizey": height,
               "sizing": "contain", "layer": "below"}  # fmt: skip
    axis = {"visible": False, "range": [0, width]}
    upside_down = {"visible": False, "range": [height, 0], "scaleanchor": "x"}
    layout = {"title": name, "images": [picture], "xaxis": axis, "yaxis": upside_down, "showlegend": False}
    return plot(record, name, "figure", {"data": [], "layout": layout}, step)


def plot(record: Delivery, title: str, series: str, figure: dict[str, Any], step: int | None) -> Event:
    """Return a Plotly figure."""
    return _event(record, "plot", metric=title, variant=series, iter=step or 0, plot_str=json.dumps(figure))


def image(record: Delivery, name: str, url: str, step: int | None) -> Event:
    """Return a debug sample."""
    title, series = title_and_series(name)
    return _event(
        record, "training_debug_image", metric=title, variant=series, iter=step or 0, url=url, key=url
    )


def _event(record: Delivery, kind: str, **values: Any) -> Event:
    return {"type": kind, "timestamp": milliseconds(record), **values}
