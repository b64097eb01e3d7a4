"""Reads an offline folder or `.wandb` file of W&B, by W&B's own reader: history, summary, config, console, files."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from stepwise_track.errors import TrackError
from stepwise_track.events import (
    Artifact,
    Console,
    Event,
    FileRef,
    Histogram,
    Parameters,
    Picture,
    Scalars,
    SingleValues,
    Table,
)
from stepwise_track.importers import FoundRun, Timed, keep_file

WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
STATUSES = {0: "completed", 255: "stopped"}
"""How a run ended by its exit code, as W&B has it; any other is a failure, none means that it was cut off."""

Row = dict[str, Any]


def read(source: str, folder: Path) -> FoundRun:
    """Read a run that the SDK has written offline, or keeps beside an online one.

    Args:
        source: its folder, or the `.wandb` file in there.
        folder: the run folder that is made.

    Raises:
        TrackError: if it is none, or W&B's reader cannot read it.
    """
    place = Path(source.removeprefix("wandb:"))
    place = place.parent if place.suffix == ".wandb" else place
    records = _records(place)
    run = next((one["run"] for one in records if one["type"] == "run"), None)
    if run is None:
        raise TrackError(f"there is no run of W&B in {place}", hint="name its folder: wandb/offline-run-…")
    begun = _time(run["start_time"])
    history = [one["history"]["item"] for one in records if one["type"] == "history"]
    axes = {one["metric"]["name"]: one["metric"].get("step_metric") for one in records if one["type"] == "metric"
            and "name" in one["metric"]}  # fmt: skip
    ended = max([begun, *(row["_timestamp"] for row in history if "_timestamp" in row)])
    exits = [one["exit"].get("exit_code", 0) for one in records if one["type"] == "exit"]
    return FoundRun(
        key=f"wandb:{run['run_id']}",
        name=run.get("display_name") or run["run_id"],
        events=[
            (begun, Parameters(_config(run, records))),
            *(event for row in history for event in _row(row, axes, place / "files", folder)),
            *_summary(records, history, ended),
            *_console(records, place, begun),
            *_artifacts(records, folder, ended),
        ],
        project=run.get("project") or "imported",
        tags=tuple(run.get("tags") or ()),
        notes=run.get("notes") or "",
        status=STATUSES.get(exits[-1], "failed") if exits else "stopped",
        begun=begun,
        ended=ended,
        journal_id=run["run_id"],  # our backend names runs like their journals
    )


def _records(place: Path) -> list[dict[str, Any]]:
    """Return all records of a run.

    Raises:
        TrackError: if W&B's reader cannot read them.
    """
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrackError(f"W&B cannot read {place}: {reason}", hint="pip install --upgrade wandb")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _time(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _config(run: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    updates = [run.get("config") or {}, *(one["config"] for one in records if one["type"] == "config")]
    config: dict[str, Any] = {}
    for update in updates:
        config |= update.get("update") or {}
    config.pop("_wandb", None)
    return cast(dict[str, Any], _with_numbers(config))


def _with_numbers(value: Any) -> Any:
    """Turn W&B's words for NaN and infinities into numbers."""
    if isinstance(value, dict):
        return {name: _with_numbers(item) for name, item in value.items()}
    return WORDS.get(value, value) if isinstance(value, str) else value


def _row(row: Row, axes: dict[str, str | None], files: Path, folder: Path) -> Iterator[Timed]:
    """Yield what a row of the history holds: numbers by their x axis, and media."""
    time, step = row.get("_timestamp", 0.0), row.get("step", row.get("_step"))
    media = {name.removesuffix("._type"): kind for name, kind in row.items() if name.endswith("._type")}
    points: dict[str, dict[str, float]] = {}
    for name, value in row.items():
        if name.startswith(("_", "info.")) or name in ("step", "epoch", "seconds", "attempt"):
            continue
        if any(name.startswith(f"{one}.") for one in media):
            continue
        number = WORDS.get(value, value) if isinstance(value, str) else value
        if isinstance(number, (int, float)):
            axis = axes.get(name) or "step"
            points.setdefault(axis if axis in ("epoch", "seconds") else "step", {})[name] = number
    for axis, values in points.items():
        if axis == "epoch":
            yield time, Scalars(values, None, epoch=row.get("epoch"), axis="epoch")
        elif axis == "seconds":
            yield time, Scalars(values, None, axis="seconds", seconds=row.get("seconds"))
        else:
            yield time, Scalars(values, step, epoch=row.get("epoch"))
    for name, kind in media.items():
        parts = {
            key.removeprefix(f"{name}."): value for key, value in row.items() if key.startswith(f"{name}.")
        }
        event = _media(name, kind, parts, step, files, folder)
        if event:
            yield time, event


def _media(name: str, kind: str, parts: Row, step: int | None, files: Path, folder: Path) -> Event | None:
    """Return a histogram, a picture, a table, or an artifact for any other file; None if its file is gone."""
    if kind == "histogram":
        return Histogram(name, tuple(parts["bins"]), tuple(map(round, parts["values"])), step=step)
    path = files / str(parts.get("path", ""))
    if not path.is_file():
        return None
    if kind == "image-file":
        return Picture(name, keep_file(folder, f"pictures/{path.name}", path), "image", step)
    if kind == "table-file":
        table = _with_numbers(json.loads(path.read_text(encoding="utf-8")))
        return Table(name, tuple(map(str, table["columns"])), tuple(map(tuple, table["data"])), step)
    return Artifact(name, (keep_file(folder, f"artifacts/{path.name}", path),), step=step)


def _summary(records: list[dict[str, Any]], history: list[Row], time: float) -> Iterator[Timed]:
    """Yield the values that were set without a point of a curve."""
    last: dict[str, Any] = {}
    for one in records:
        if one["type"] == "summary":
            last |= one["summary"].get("update") or {}
    drawn = {name for row in history for name in row}
    for name, value in _with_numbers(last).items():
        if name not in drawn and not name.startswith("_") and isinstance(value, (int, float)):
            yield time, SingleValues({name: value})


def _console(records: list[dict[str, Any]], place: Path, begun: float) -> Iterator[Timed]:
    """Yield the lines that were printed: from the records, else from the file that the SDK writes beside them."""
    open_lines: dict[str, str] = {}
    found = [one["output_raw"] for one in records if one["type"] == "output_raw"]
    for one in found:
        stream = one["output_type"].lower()
        text = open_lines.pop(stream, "") + one["line"]
        lines, _, rest = text.rpartition("\n")
        if lines:
            yield _time(one["timestamp"]), Console(stream, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", lines))
        if rest:
            open_lines[stream] = rest
    log = place / "files" / "output.log"
    if not found and log.is_file():
        yield begun, Console("stdout", log.read_text(encoding="utf-8", errors="replace").rstrip("\n"))


def _artifacts(records: list[dict[str, Any]], folder: Path, time: float) -> Iterator[Timed]:
    """Yield artifacts whose files are still where the run put them; tables are in the history already."""
    for one in records:
        item = one.get("artifact") if one["type"] == "artifact" else None
        if not item or item.get("type") == "run_table" or not item.get("manifest"):
            continue
        paths = [
            (each["path"], Path(each.get("local_path", ""))) for each in item["manifest"].get("contents", [])
        ]
        files: list[FileRef] = [
            keep_file(folder, f"artifacts/{item['name']}/{name}", path)
            for name, path in paths
            if path.is_file()
        ]
        if files:
            role: Any = "model" if item.get("type") == "model" else "artifact"
            yield time, Artifact(item["name"], tuple(files), role=role)
