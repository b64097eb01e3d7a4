"""What a report shows, collected from run folders as plain values."""

import base64
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, Template

from stepwise_cli import __version__
from stepwise_cli.console import finite
from stepwise_cli.report import charts
from stepwise_cli.tables import duration
from stepwise_cli.trackers import tracker_links
from stepwise_track import compare, read_run, summarize
from stepwise_track.errors import TrackError
from stepwise_track.events import Picture, Table, Text
from stepwise_track.reader import RunJournal
from stepwise_track.relay import status
from stepwise_track.summary import Comparison, flatten

MEDIA_TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
    ".webp": "image/webp", ".svg": "image/svg+xml",
}  # fmt: skip
"""Kinds of pictures that every browser shows. As images, SVGs run no scripts and load nothing."""

TABLE_ROWS = 200
"""Most rows of a table that the page shows."""


def render(run_dirs: list[Path]) -> str:
    """Return the page about one or more runs.

    Args:
        run_dirs: the run folders.

    Raises:
        TrackError: if two runs have the same name, or a journal is damaged.
    """
    journals = {path: read_run(path) for path in run_dirs}
    comparison = compare(run_dirs)
    series = {path.name: journal.series() for path, journal in journals.items()}
    found = charts.charts(series)
    return template("page.html.jinja").render(
        title=", ".join(comparison.runs),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        version=__version__,
        runs=[_run(path, journal) for path, journal in journals.items()],
        comparison=comparison,
        parameters=_parameters(journals, comparison),
        charts=found,
        hover=[
            {"bounds": one.bounds, "lines": [{"label": x.label, "points": x.points} for x in one.lines]}
            for one in found
        ],
        size=charts,
    )


def template(name: str) -> Template:
    """Return a template of this package; whatever it shows is escaped."""
    environment = Environment(loader=PackageLoader("stepwise_cli", "report"), autoescape=True)
    environment.filters |= {"cell": _cell, "short": _short}
    return environment.get_template(name)


def _run(path: Path, journal: RunJournal) -> dict[str, Any]:
    """Return what the page says about one run by itself."""
    summary = summarize(path, journal)
    return {
        "summary": summary,
        "started": f"{datetime.fromtimestamp(summary.started):%Y-%m-%d %H:%M:%S}",
        "took": duration(summary.duration),
        "tables": list(_latest(journal, Table).values()),
        "texts": list(_latest(journal, Text).values()),
        "pictures": [_picture(path, event) for event in _latest(journal, Picture).values()],
        "environment": _environment(path),
        "trackers": _trackers(path),
        "table_rows": TABLE_ROWS,
    }


def _latest(journal: RunJournal, kind: type[Any]) -> dict[str, Any]:
    """Return the last event of a kind by its name."""
    return {record.event.name: record.event for record in journal.current if isinstance(record.event, kind)}


def _picture(run_dir: Path, event: Picture) -> dict[str, Any]:
    """Return a picture with its content as a data URI, or with the reason why it cannot be shown."""
    shown: dict[str, Any] = {"name": event.name, "step": event.step, "path": event.file.path}
    place = (run_dir / event.file.path).resolve()
    media_type = MEDIA_TYPES.get(place.suffix.lower())
    if media_type is None:
        return shown | {"problem": "no kind of picture that a browser shows"}
    if not place.is_relative_to(run_dir.resolve()) or not place.is_file():
        return shown | {"problem": "the file is gone"}
    content = base64.b64encode(place.read_bytes()).decode("ascii")
    return shown | {"data": f"data:{media_type};base64,{content}"}


def _environment(run_dir: Path) -> dict[str, Any]:
    """Return what the run ran on, flat; without the diff and the list of packages, which stay in the folder."""
    try:
        facts = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    packages = facts.pop("packages", None) or {}
    git = facts.get("git")
    if isinstance(git, dict) and git.get("diff"):
        git["diff"] = f"{len(git['diff'].splitlines())} lines, in environment.json"
    return {key: value for key, value in flatten(facts).items() if value not in (None, "", {}, [])} | {
        "packages": f"{len(packages)}, in environment.json"
    }


def _trackers(run_dir: Path) -> list[dict[str, Any]]:
    """Return how each tracker stands, with the fidelity report."""
    try:
        stands = status(run_dir)
    except TrackError:
        return []
    links = tracker_links(run_dir)
    return [
        asdict(one) | {"pending": one.pending, "link": _web_link(links.get(one.name, ""))} for one in stands
    ]


def _web_link(link: str) -> str:
    return link if link.startswith(("http://", "https://")) else ""


def _parameters(journals: dict[Path, RunJournal], comparison: Comparison) -> list[dict[str, Any]]:
    """Return every parameter with its value in every run, and whether it differs; those that do come first."""
    flat = {path.name: flatten(journal.parameters()) for path, journal in journals.items()}
    names = dict.fromkeys(name for values in flat.values() for name in values)
    rows = [
        {
            "name": name,
            "values": [values.get(name) for values in flat.values()],
            "present": [name in values for values in flat.values()],
            "differs": name in comparison.parameters,
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: not row["differs"])


def _cell(value: Any) -> str:
    """Show any plain value."""
    return value if isinstance(value, str) else json.dumps(finite(value), ensure_ascii=False)


def _short(value: Any) -> str:
    """Show a number as people read it; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else _cell(value)
