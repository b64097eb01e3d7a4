"""Reads a ClearML task: what it reported, as events; its files, downloaded.

The points, values and parameters alone are what `stepwise runs … --server` shows, so they can be had without the rest.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from clearml import StorageManager

from stepwise_track.backends.clearml.connection import CallError, Connection
from stepwise_track.backends.clearml.mapping import SINGLE_VALUE, SPLITS
from stepwise_track.backends.clearml.task import MARK
from stepwise_track.backends.protocol import Rejected, Unreachable
from stepwise_track.errors import TrackError
from stepwise_track.events import (
    Artifact,
    Configuration,
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

STATUSES = {"completed": "completed", "published": "completed", "closed": "completed", "failed": "failed"}
"""How a task ended; one that ended in no other way, or still runs, counts as stopped where it stands."""

EVENTS_PER_PAGE = 5000
DOWNLOAD_S = 60.0
"""Seconds without an answer after which a download has failed."""


class UnreachableServer(TrackError):
    """The ClearML server does not answer."""

    exit_code = 4


class RefusedByServer(TrackError):
    """The ClearML server refuses us."""

    exit_code = 5


class Server(Connection):
    """A session with the ClearML server of the user's configuration, whose failures explain themselves.

    Raises:
        TrackError: with exit code 4 if it does not answer, 5 if it refuses us.
    """

    def __init__(self) -> None:
        with _explained():
            super().__init__()

    def call(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """Call `service.action` and return its `data`.

        Raises:
            CallError: if the server refuses the call.
            TrackError: as for the class.
        """
        with _explained():
            return super().call(endpoint, **params)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise UnreachableServer(str(error), hint="stepwise track doctor") from None
    except Rejected as error:
        raise RefusedByServer(str(error), hint="stepwise track doctor") from None


def read(source: str, folder: Path) -> FoundRun:
    """Read a whole task; its files go to `folder`.

    Args:
        source: its id, `clearml:` and its id, or its address in the web application.
        folder: the run folder that is made.

    Raises:
        TrackError: if there is no such task, the server cannot be reached, or a file has another hash than noted.
    """
    found = re.search(r"[0-9a-f]{32}(?!.*[0-9a-f]{32})", source)
    if not found:
        raise TrackError(
            f"{source} names no ClearML task: its id has 32 hex digits", hint="stepwise runs list --server"
        )
    server = Server()
    task = get_task(server, found[0])
    try:
        return found_run(server, task, _events_of(server, task, folder))
    except CallError as error:
        raise TrackError(f"{source} cannot be read: {error}", hint="stepwise track doctor") from None


def _events_of(server: Connection, task: dict[str, Any], folder: Path) -> list[Timed]:
    """Return everything that a task has; its files go to `folder`."""
    return [
        *values_of(server, task),
        *_plots(server, task["id"], folder),
        *_console(server, task["id"]),
        *_pictures(server, task["id"], folder),
        *_configuration(task),
        *_artifacts(server, task, folder),
        *_models(server, task, folder),
    ]


def get_task(server: Connection, task_id: str) -> dict[str, Any]:
    """Return the document of a task.

    Raises:
        TrackError: if there is none.
    """
    try:
        task: dict[str, Any] = server.call("tasks.get_by_id", task=task_id)["task"]
    except CallError as error:
        raise TrackError(
            f"there is no task {task_id} on the ClearML server ({error})", hint="stepwise runs list --server"
        ) from None
    return task


def found_run(server: Connection, task: dict[str, Any], events: list[Timed]) -> FoundRun:
    """Return a task with what it reported as a run."""
    project = "imported"
    if task.get("project"):
        project = server.call("projects.get_by_id", project=task["project"])["project"]["name"]
    return FoundRun(
        key=f"clearml:{task['id']}",
        name=task["name"],
        events=events,
        project=project,
        tags=tuple(task.get("tags") or ()),
        notes=task.get("comment") or "",
        status=STATUSES.get(task["status"], "stopped"),
        begun=seconds(task.get("started") or task.get("created")),
        ended=seconds(task.get("completed")),
        journal_id=(task.get("runtime") or {}).get(MARK, ""),
    )


def seconds(moment: str | None) -> float | None:
    """Return a time of a document as Unix seconds."""
    return datetime.fromisoformat(moment).timestamp() if moment else None


def series_name(metric: str, variant: str) -> str:
    """Return our name of a curve: what `title_and_series` of the backend made into title and series."""
    if variant in SPLITS:
        return f"{variant}/{metric}"
    if metric in (":monitor:machine", ":monitor:gpu"):
        return f"machine/{variant}"
    return metric if metric == variant else f"{metric}/{variant}"


def values_of(server: Connection, task: dict[str, Any]) -> list[Timed]:
    """Return what a task has of curves, single values and parameters."""
    begun = seconds(task.get("started") or task.get("created")) or 0.0
    found: list[Timed] = []
    tree = parameters(task.get("hyperparams") or {})
    if tree:
        found.append((begun, Parameters(tree)))
    points: dict[tuple[float, int, str], dict[str, float]] = {}
    for event in _events(server, task["id"], "training_stats_scalar"):
        time = event["timestamp"] / 1000
        if event["iter"] == SINGLE_VALUE:
            name = (
                event["variant"]
                if event["metric"] == "Summary"
                else series_name(event["metric"], event["variant"])
            )
            found.append((time, SingleValues({name: event["value"]})))
            continue
        axis = event.get("x_axis_label") or ("seconds" if event["metric"].startswith(":monitor:") else "step")
        place = (time, event["iter"], axis if axis in ("epoch", "seconds") else "step")
        points.setdefault(place, {})[series_name(event["metric"], event["variant"])] = event["value"]
    for (time, place_, axis), values in points.items():
        found.append((time, _scalars(values, place_, axis)))
    return found


def _scalars(values: dict[str, float], place: int, axis: str) -> Scalars:
    if axis == "epoch":
        return Scalars(dict(values), None, epoch=place, axis="epoch")
    if axis == "seconds":
        return Scalars(dict(values), None, axis="seconds", seconds=place)
    return Scalars(dict(values), place)


def _events(server: Connection, task_id: str, kind: str) -> Iterator[dict[str, Any]]:
    """Yield all events of one type."""
    scroll = None
    while True:
        page = server.call(
            "events.get_task_events",
            task=task_id,
            event_type=kind,
            batch_size=EVENTS_PER_PAGE,
            scroll_id=scroll,
        )
        yield from page["events"]
        scroll = page.get("scroll_id")
        if not page["events"] or not scroll:
            return


def parameters(sections: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return hyperparameters as a tree: sections, then `a/b/c` as branches; `General` is the trunk."""
    tree: dict[str, Any] = {}
    for section, items in sections.items():
        for name, item in items.items():
            branch = tree if section == "General" else tree.setdefault(section, {})
            *parents, leaf = name.split("/")
            for parent in parents:
                branch = branch.setdefault(parent, {})
                if not isinstance(branch, dict):
                    break
            if isinstance(branch, dict):
                branch[leaf] = _plain(item.get("value"), item.get("type") or "str")
    return tree


def _plain(text: Any, kind: str) -> Any:
    """Return a parameter with its type: the server keeps words, and beside them the name of the type."""
    if not isinstance(text, str) or kind in ("str", "string"):
        return text
    if kind == "NoneType":
        return None
    parsers: list[Callable[[str], Any]] = [json.loads, ast.literal_eval]
    for parse in parsers:
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    return text


def _console(server: Connection, task_id: str) -> Iterator[Timed]:
    for event in _events(server, task_id, "log"):
        stream: Any = "stderr" if event.get("level") == "ERROR" else "stdout"
        yield event["timestamp"] / 1000, Console(stream, event["msg"].rstrip("\n"))


def _configuration(task: dict[str, Any]) -> Iterator[Timed]:
    begun = seconds(task.get("started") or task.get("created")) or 0.0
    for name, item in (task.get("configuration") or {}).items():
        yield begun, Configuration(name, item.get("value") or "")


def _plots(server: Connection, task_id: str, folder: Path) -> Iterator[Timed]:
    """Yield tables and histograms as what they are, any other plot as a figure of plotly."""
    for event in _events(server, task_id, "plot"):
        name = series_name(event["metric"], event["variant"])
        step = event["iter"] if event["iter"] >= 0 else None
        figure = json.loads(event["plot_str"])
        shown = _table(name, figure, step) or _histogram(name, figure, step)
        if shown is None:
            file = keep_file(folder, f"pictures/{name}_{event['iter']:08}.json", event["plot_str"].encode())
            shown = Picture(name, file, "figure", step)
        yield event["timestamp"] / 1000, shown


def _table(name: str, figure: dict[str, Any], step: int | None) -> Event | None:
    (data, *more) = figure.get("data") or [{}]
    if more or data.get("type") != "table":
        return None
    columns = [" ".join(one) if isinstance(one, list) else str(one) for one in data["header"]["values"]]
    rows = zip(*data["cells"]["values"], strict=True)
    return Table(name, tuple(columns), tuple(tuple(row) for row in rows), step)


def _histogram(name: str, figure: dict[str, Any], step: int | None) -> Event | None:
    """Return what our backend drew as bars between edges; None for any other plot."""
    (data, *more) = figure.get("data") or [{}]
    if more or data.get("type") != "bar" or not isinstance(data.get("width"), list) or not data["x"]:
        return None
    edges = [x - width / 2 for x, width in zip(data["x"], data["width"], strict=True)]
    edges.append(data["x"][-1] + data["width"][-1] / 2)
    return Histogram(name, tuple(edges), tuple(data["y"]), step=step)


def _pictures(server: Connection, task_id: str, folder: Path) -> Iterator[Timed]:
    for event in _events(server, task_id, "training_debug_image"):
        file = _download(server, event["url"], folder, f"pictures/{event['metric']}")
        if file:
            step = event["iter"] if event["iter"] >= 0 else None
            yield (
                event["timestamp"] / 1000,
                Picture(series_name(event["metric"], event["variant"]), file, "image", step),
            )


def _artifacts(server: Connection, task: dict[str, Any], folder: Path) -> Iterator[Timed]:
    for item in (task.get("execution") or {}).get("artifacts") or []:
        if item.get("mode") == "input" or not item.get("uri"):
            continue
        file = _download(server, item["uri"], folder, f"artifacts/{item['key']}")
        if file is None:
            continue
        if item.get("hash") and item["hash"] != file.sha256:
            raise TrackError(
                f"artifact {item['key']!r} of task {task['id']} has the hash {file.sha256}, not {item['hash']}",
                hint="somebody has replaced the file on the server: upload it again there",
            )
        facts = {name: value for name, value in item.get("display_data") or []}
        yield float(item.get("timestamp") or 0), Artifact(item["key"], (file,), metadata=facts or None)


def _models(server: Connection, task: dict[str, Any], folder: Path) -> Iterator[Timed]:
    for item in (task.get("models") or {}).get("output") or []:
        model = server.call("models.get_by_id", model=item["model"])["model"]
        file = _download(server, model.get("uri") or "", folder, f"artifacts/{item['name']}")
        if file:
            facts = {name: one["value"] for name, one in (model.get("metadata") or {}).items()}
            facts |= {"framework": model.get("framework") or "", "tags": model.get("tags") or []}
            time = seconds(model.get("created")) or 0.0
            yield time, Artifact(item["name"], (file,), role="model", metadata=facts)


def _download(server: Connection, url: str, folder: Path, place: str) -> FileRef | None:
    """Bring a file into the run folder; None if it is gone from its server."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if url.startswith(server.files_host):
        headers = {"Authorization": f"Bearer {server.token}"}
        try:
            answer = requests.get(url, headers=headers, timeout=DOWNLOAD_S)
        except requests.RequestException as error:
            raise UnreachableServer(f"{url} cannot be downloaded: {error}", hint="import it again") from None
        return keep_file(folder, f"{place}/{name}", answer.content) if answer.ok else None
    copy = StorageManager.get_local_copy(url, extract_archive=False) if "://" in url else None
    return keep_file(folder, f"{place}/{name}", Path(copy)) if copy else None
