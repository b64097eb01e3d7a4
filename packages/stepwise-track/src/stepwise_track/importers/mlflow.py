"""Reads a run of MLflow through its client: parameters, metrics with their histories, tags, artifacts."""

import json
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from stepwise_track.backends.mlflow.backend import JOURNAL_TAG
from stepwise_track.backends.mlflow.store import Store
from stepwise_track.backends.protocol import Rejected, Unreachable
from stepwise_track.errors import TrackError
from stepwise_track.events import Artifact, Parameters, Scalars, SingleValues
from stepwise_track.importers import FoundRun, Timed, keep_file

STATUSES = {"FINISHED": "completed", "FAILED": "failed"}
"""How a run ended; one that was killed or still runs counts as stopped where it stands."""

PARAMETER_FILE = "parameters.json"
"""Artifact in which our own backend keeps the parameters with their types."""


def read(source: str, folder: Path) -> FoundRun:
    """Read a run.

    Args:
        source: `mlflow:ID` in the store of `MLFLOW_TRACKING_URI`, else of `mlflow.db` beside the runs; the address of
            a run in MLflow's page; or a run's folder in a store of files.
        folder: the run folder that is made.

    Raises:
        TrackError: if there is no such run, or the store cannot be opened.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    run_id = re.findall(r"[0-9a-f]{32}", Path(source).absolute().as_posix())
    if not run_id:
        raise TrackError(f"{source} names no run of MLflow: its id has 32 hex digits", hint="mlflow:RUN-ID")
    try:
        client = _client(source, folder.parent.parent)
        run = client.get_run(run_id[-1])
        experiment = client.get_experiment(run.info.experiment_id)
        found = _found(client, run, experiment.name, folder)
    except (MlflowException, Rejected, Unreachable) as error:
        text = " ".join(str(error).split())[:300]
        raise TrackError(f"{source} cannot be read: {text}", hint="set MLFLOW_TRACKING_URI") from None
    return found


def _client(source: str, runs_dir: Path) -> MlflowClient:
    """Return the client of the store that the source names, else of the user's."""
    if (Path(source) / "meta.yaml").is_file():
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return MlflowClient(tracking_uri=Path(source).absolute().parent.parent.as_uri())
    if "://" in source:
        parts = urlsplit(source)
        return MlflowClient(tracking_uri=f"{parts.scheme}://{parts.netloc}")
    return Store(runs_dir).client


def _found(client: MlflowClient, run: Run, project: str, folder: Path) -> FoundRun:
    begun = (run.info.start_time or 0) / 1000
    ended = run.info.end_time / 1000 if run.info.end_time else None
    tags = {
        name: value for name, value in run.data.tags.items() if not name.startswith(("mlflow.", "stepwise."))
    }
    artifacts = list(_artifacts(client, run, folder, ended or begun))
    kept = folder / "artifacts" / PARAMETER_FILE
    tree = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else _tree(run.data.params)
    return FoundRun(
        key=f"mlflow:{run.info.run_id}",
        name=run.info.run_name or run.info.run_id,
        events=[(begun, Parameters(tree)), *_metrics(client, run), *artifacts],
        project=project,
        tags=tuple(
            name if value in ("", "true") else f"{name}={value}" for name, value in sorted(tags.items())
        ),
        notes=run.data.tags.get("mlflow.note.content", ""),
        status=STATUSES.get(run.info.status, "stopped"),
        begun=begun,
        ended=ended,
        journal_id=run.data.tags.get(JOURNAL_TAG, ""),
    )


def _tree(params: dict[str, str]) -> dict[str, Any]:
    """Return parameters as a tree: the dots of their names are its branches, their words plain values."""
    tree: dict[str, Any] = {}
    for name, text in params.items():
        branch: Any = tree
        *parents, leaf = name.split(".")
        for parent in parents:
            branch = branch.setdefault(parent, {}) if isinstance(branch, dict) else branch
        if isinstance(branch, dict) and not isinstance(branch.get(leaf), dict):
            branch[leaf] = _plain(text)
        else:  # `a` and `a.b` are both there
            tree[name] = _plain(text)
    return tree


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"None": None, "True": True, "False": False}.get(text, text)


def _metrics(client: MlflowClient, run: Run) -> Iterator[Timed]:
    """Yield every point; one alone at step 0 is a value, no curve."""
    for name in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, name)
        if len(points) == 1 and points[0].step == 0:
            yield points[0].timestamp / 1000, SingleValues({name: _number(points[0].value)})
            continue
        for point in points:
            yield point.timestamp / 1000, Scalars({name: _number(point.value)}, point.step)


def _number(value: float) -> float:
    """Return infinities as such: MLflow's databases hold the largest number in their place."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _artifacts(client: MlflowClient, run: Run, folder: Path, time: float) -> Iterator[Timed]:
    """Yield files and folders at the top, each as an artifact."""
    for item in client.list_artifacts(run.info.run_id):
        download = (folder.parent / "download").resolve()
        download.mkdir(exist_ok=True)
        place = Path(client.download_artifacts(run.info.run_id, item.path, str(download)))
        paths = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        files = tuple(
            keep_file(folder, f"artifacts/{path.relative_to(download).as_posix()}", path) for path in paths
        )
        if files:
            yield time, Artifact(item.path, files)
