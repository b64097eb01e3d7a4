"""The records of one batch as calls of MLflow's client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from stepwise_track.backends.mlflow import names
from stepwise_track.backends.mlflow.files import RunFiles
from stepwise_track.backends.mlflow.models import ModelRegistry
from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.backends.render import as_word, flatten, merge
from stepwise_track.events import (
    Artifact,
    Checkpoint,
    Configuration,
    Console,
    EventsLost,
    Histogram,
    InputDataset,
    Parameters,
    Picture,
    RunFinished,
    Scalars,
    SingleValues,
    Table,
    Text,
)

MAX_METRICS = 500
"""Metrics of one request; MLflow takes 1,000 values and a megabyte."""

MAX_TAGS = 25
"""Parameters, and tags, of one request: each may be thousands of characters long."""


@dataclass
class RunSoFar:
    """What is known of the run in the tracker.

    Attributes:
        run_id: its id.
        artifact_uri: where its files are.
        parameters: those it has: MLflow does not let them change.
        tables: its list of tables, as JSON.
        keys: those of its metrics, by the name of the series.
        is_folder: whether a folder of files holds the run.
        tree: parameters as they were logged.
    """

    run_id: str
    artifact_uri: str
    parameters: dict[str, str]
    tables: str
    keys: dict[str, str]
    is_folder: bool = False
    tree: dict[str, Any] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """Return the key of a series. In a folder, `a` is a file and `a/b` makes `a` a folder: only the first fits."""
        if name not in self.keys:
            key = names.key(name)
            taken = self.keys.values() if self.is_folder else ()
            if any(one.startswith(f"{key}/") or key.startswith(f"{one}/") for one in taken):
                key = f"{key.replace('/', '.')}_"
            self.keys[name] = key
        return self.keys[name]


class Batch:
    """Collects metrics, parameters and tags of records, and sends them; files are sent at once.

    Args:
        run: the run.
        client: of MLflow.
        so_far: what the tracker has.

    Attributes:
        metrics: number of the record and metric.
        ended_at: when the run ended (Unix milliseconds), if that is in the batch; else 0.
    """

    def __init__(self, run: RunContext, client: MlflowClient, so_far: RunSoFar) -> None:
        self._run, self._client, self._so_far = run, client, so_far
        self._files = RunFiles(run, client, so_far.run_id)
        self._models = ModelRegistry(run, client, so_far.run_id, so_far.artifact_uri)
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._lines: list[str] = []
        self._last_seq = 0
        self._has_parameters = False
        self.metrics: list[tuple[int, Metric]] = []
        self.ended_at = 0

    def add(self, one: Delivery) -> None:
        """Take a record."""
        self._last_seq = one.seq
        match one.event:
            case Scalars() as event:
                self._scalars(one, event)
            case SingleValues(values):
                for name, value in values.items():
                    self._metric(one, name, value, 0)
            case Parameters(values):
                self._parameters(values)
            case Console() as event:
                self._console(one, event)
            case InputDataset() as event:
                self._dataset(event)
            case RunFinished():
                self.ended_at = round(one.time * 1000)
            case EventsLost(count, reason):
                self._tags[f"events_lost.{one.seq}"] = names.cut(f"{count}: {reason}", names.MAX_TAG)
            case Table() | Text() | Picture() | Histogram() | Configuration() | Artifact() | Checkpoint():
                self._file(one)

    def _scalars(self, one: Delivery, event: Scalars) -> None:
        place = event.place
        if place is None:
            self._run.degrade("scalars", "at step 0: they have no place")
        elif place != int(place):
            self._run.degrade("scalars", "at the whole number of their epoch or second")
        for name, value in event.values.items():
            self._metric(one, name, value, int(place or 0))
        if event.axis == "step" and event.epoch is not None:
            self._metric(one, "epoch_at_step", event.epoch, int(place or 0))
        if event.info:
            self._files.json(one, "info", next(iter(event.values), "scalars"), event.step, event.info)

    def _metric(self, one: Delivery, name: str, value: float, step: int) -> None:
        key = self._so_far.key(name)
        if key != name:
            self._run.degrade(one.event.kind, "renamed: MLflow does not take the name")
        if value in (float("inf"), float("-inf")):
            self._run.degrade(one.event.kind, "infinities as ±1.8e308 where a database holds the metrics")
        self.metrics.append((one.seq, Metric(key, value, round(one.time * 1000), step)))

    def _parameters(self, values: Mapping[str, Any]) -> None:
        merge(self._so_far.tree, values)
        self._has_parameters = True
        for name, item in flatten(as_word(values)).items():
            key, text = names.key(name), names.cut(names.value(item), names.MAX_PARAMETER)
            if len(names.value(item)) > names.MAX_PARAMETER:
                self._run.degrade("parameters", "cut at 6,000 characters; whole in `parameters.json`")
            known = self._params.get(key, self._so_far.parameters.get(key))
            if known is None:
                self._params[key] = text
            elif known != text:
                self._run.degrade(
                    "parameters", "changed: the last value is in a tag and in `parameters.json`"
                )
                self._tags[names.key(f"changed.{name}")] = names.cut(text, names.MAX_TAG)

    def _console(self, one: Delivery, event: Console) -> None:
        time = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="milliseconds")
        mark = "! " if event.stream == "stderr" else ""
        lines = event.text.split("\n")
        if event.dropped:
            lines.insert(0, f"[{event.dropped} lines left out]")
        if one.seq > self._run.state.get("seq", 0):
            self._lines += [f"{time} {mark}{line}\n" for line in lines]

    def _dataset(self, event: InputDataset) -> None:
        facts = as_word({"name": event.name, "version": event.version, "project": event.project})
        dataset = Dataset(
            name=event.name[:500],
            digest=event.version[:36],
            source_type="stepwise",
            source=json.dumps(facts),
            profile=json.dumps(as_word(event.info or {})),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        self._client.log_inputs(self._so_far.run_id, inputs)

    def _file(self, one: Delivery) -> None:
        """Send what becomes a file."""
        match one.event:
            case Table() as event:
                path = self._files.table(one, event)
                self._list_table(path)
                if event.on_model:
                    self._models.describe(event.name, path)
            case Text(name, text, step, info):
                self._files.text(one, "texts", name, step, text)
                if info:
                    self._files.json(one, "texts", f"{name}.info", step, info)
            case Configuration(name, text):
                self._files.text(one, "configuration", name, None, text)
            case Histogram(name, edges, counts, not_finite, step):
                self._run.degrade("histogram", "as a JSON file")
                shape = {"edges": edges, "counts": counts, "not_finite": not_finite}
                self._files.json(one, "histograms", name, step, shape)
            case Picture() as event:
                if self._files.picture(one, event):
                    self._tags["mlflow.loggedImages"] = "True"
            case Artifact(name, files, role, step, metadata):
                place = self._files.several(one, name, files)
                facts = {"step": step, "files": [file.sha256 for file in files]} | (metadata or {})
                self._files.json(one, "metadata", name, step, facts)
                if role == "model" and place:
                    self._models.register(one, names.model(name), place, facts, is_best=False)
            case Checkpoint(files, step, epoch, loss, is_best, metadata):
                place = self._files.several(one, f"checkpoints/{step:08}", files)
                if place:
                    started = self._run.started
                    facts = {"step": step, "epoch": epoch, "loss": loss, "is_best": is_best} | (
                        metadata or {}
                    )
                    name = names.model(started.project_name, started.experiment_name)
                    self._models.register(one, name, place, facts, is_best=is_best)

    def _list_table(self, path: str) -> None:
        """Add a table to those that MLflow's page and `load_table` know."""
        tables = json.loads(self._so_far.tables)
        entry = {"path": path, "type": "table"}
        if entry in tables:
            return
        text = json.dumps([*tables, entry])
        if len(text) > names.MAX_TAG:
            self._run.degrade("table", "not in the list of tables, which is full: only as a file")
            return
        self._so_far.tables = self._tags["mlflow.loggedArtifacts"] = text

    def send(self, metrics: list[Metric]) -> None:
        """Send metrics, the parameters and tags of the batch, and its console lines."""
        params = [Param(key, value) for key, value in self._params.items()]
        tags = [RunTag(key, value) for key, value in self._tags.items()]
        while metrics or params or tags:
            self._run.progress()
            self._client.log_batch(
                self._so_far.run_id,
                metrics[:MAX_METRICS],
                params[:MAX_TAGS],
                tags[:MAX_TAGS],
                synchronous=True,
            )
            metrics, params, tags = metrics[MAX_METRICS:], params[MAX_TAGS:], tags[MAX_TAGS:]
        self._so_far.parameters |= self._params
        if self._has_parameters:
            self._files.tree("parameters.json", as_word(self._so_far.tree))
        self._console_state = self._files.console(self._lines)

    def keep_state(self) -> None:
        """Note in the state how far the run came; all of the batch is sent."""
        self._run.state |= {"seq": self._last_seq, "console": self._console_state}
        self._run.state["model"] = self._models.state
