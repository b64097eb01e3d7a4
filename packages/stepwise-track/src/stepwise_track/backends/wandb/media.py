"""What W&B shows as media: tables, texts, pictures, histograms."""

import html
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from PIL import UnidentifiedImageError

from stepwise_track.backends.protocol import RunContext
from stepwise_track.backends.render import as_word
from stepwise_track.events import Histogram, Table, Text

MAX_ROWS = 200_000
"""Rows of a table that W&B keeps."""

MAX_BINS = 512
"""Bins of a histogram that W&B takes."""


def table(event: Table, run: RunContext) -> wandb.Table:
    """Return a table. Its cells may be of any kind; NaN and infinities stay what they are."""
    rows = event.rows
    if len(rows) > MAX_ROWS:
        run.degrade("table", "rows above 200,000 left out", len(rows) - MAX_ROWS)
        rows = rows[:MAX_ROWS]
    columns: list[str | int] = []
    for name in event.columns:
        columns.append(name if name not in columns else f"{name} ({len(columns) + 1})")
    data = [list(row) for row in rows]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def text(event: Text) -> wandb.Html:
    """Return a text as an HTML panel, with what belongs to it above."""
    info = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{html.escape(str(as_word(value)))}</dd>"
        for key, value in (event.info or {}).items()
    )
    facts = f"<dl>{info}</dl>" if info else ""
    words = f'{facts}<pre style="white-space: pre-wrap">{html.escape(event.text)}</pre>'
    return wandb.Html(words, inject=False, data_is_not_path=True)


def histogram(event: Histogram, run: RunContext) -> wandb.Histogram:
    """Return a histogram; neighbouring bins are joined until there are few enough."""
    counts, edges = list(event.counts), list(event.edges)
    if len(counts) > MAX_BINS:
        run.degrade("histogram", "neighbouring bins joined: W&B takes 512")
    while len(counts) > MAX_BINS:
        if len(counts) % 2:
            counts, edges = [*counts, 0], [*edges, edges[-1]]
        counts = [counts[i] + counts[i + 1] for i in range(0, len(counts), 2)]
        edges = edges[::2]
    return wandb.Histogram(np_histogram=(np.asarray(counts), np.asarray(edges)))


def picture(path: Path, run: RunContext) -> Any:
    """Return a picture or a figure; None if W&B cannot show it."""
    suffix = path.suffix.lower()
    if suffix in (".png", ".jpg", ".jpeg", ".gif", ".bmp"):
        with suppress(UnidentifiedImageError):
            return wandb.Image(str(path))
    if suffix == ".svg":
        run.degrade("picture", "SVG as HTML")
        return wandb.Html(path.read_text(encoding="utf-8"), inject=False, data_is_not_path=True)
    if suffix == ".json":
        try:
            import plotly.io  # type: ignore[import-untyped]
        except ImportError:
            pass
        else:
            return wandb.Plotly(plotly.io.from_json(path.read_text(encoding="utf-8"), skip_invalid=True))
    run.degrade("picture", "as an artifact: W&B cannot show it, or plotly is missing")
    return None
