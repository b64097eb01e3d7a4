"""The ClearML backend: what is sent in which order, and why a repeat changes nothing.

Scalars, plots, debug samples, parameters, artifacts and models have names on the server, so a repeat overwrites
the same. Lines of the console have none: when a batch comes again, those that the server has are left out.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import singledispatchmethod
from typing import Any, ClassVar

from PIL import Image

from stepwise_track.backends.clearml import mapping, offline, task
from stepwise_track.backends.clearml.connection import CallError, Connection
from stepwise_track.backends.clearml.files import Uploader
from stepwise_track.backends.protocol import Backend, Delivery, Rejected, RunContext
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
    RunResumed,
    RunStarted,
    Scalars,
    SingleValues,
    Table,
    Text,
)

MODEL_FIELDS = ("framework", "tags", "config", "labels")
"""What `log_model` says of a model that the registry has fields of its own for; the rest is its metadata."""


class ClearMLBackend(Backend):
    """Sends a run to the ClearML server of the user's configuration.

    Options: `task_id`, `task_type`, `output_uri`, and `offline`, which writes a session for a later import instead.
    """

    name: ClassVar[str] = "clearml"
    fidelity: ClassVar[Mapping[str, str]] = {
        "scalars": "NaN and infinities are lines of the console; fractional epochs are rounded",
        "text": "lines of the console",
        "histogram": "bar charts in PLOTS",
        "checkpoint": "several files are one zip",
    }

    def open(self, run: RunContext) -> None:
        """Connect, and find or create the task."""
        self._run = run
        self._offline = offline.wanted(run.options)
        if self._offline:
            return
        self._server = Connection()
        self._task = task.find_or_create(self._server, run)
        self._uploads = Uploader(self._server, run, self._task, run.options.get("output_uri"))
        self._events: list[dict[str, Any]] = []

    def deliver(self, records: Sequence[Delivery]) -> None:
        """Send a batch; an offline session is written at the end, from the journal."""
        if self._offline:
            return
        self._describe()
        try:
            for record in records:
                self._send(record.event, record)
                self._run.progress()
            if records[0].seq <= self._run.uncertain_until:
                self._drop_known_lines(records)
            self._report()
        except CallError as error:
            self._events.clear()
            if error.subcode in (101, 110) or "locked" in str(error):
                raise Rejected(f"the task {self._task} takes nothing any more ({error})") from None
            raise

    def flush(self) -> None:
        """Nothing waits: every call returns when the server has it."""

    def finish(self, status: str) -> None:
        """Give the task its final status, or write the offline session."""
        if self._offline:
            self._run.state["session"] = str(offline.write_session(self._run, status))
            return
        self._describe()
        task.end(self._server, self._task, status)

    def close(self) -> None:
        """Nothing is held."""

    def _report(self) -> None:
        """Send the events that were collected."""
        events = [{"task": self._task, "allow_locked": False, **event} for event in self._events]
        self._events = []
        if events:
            self._server.report(events)

    def _describe(self) -> None:
        """Tell the task about code and machine as soon as that is known; once."""
        environment = self._run.run_dir / "environment.json"
        if not self._run.state.get("described") and environment.exists():
            task.describe(self._server, self._task, environment, code=not self._run.state.get("agent"))
            self._run.state["described"] = True

    def _drop_known_lines(self, records: Sequence[Delivery]) -> None:
        """Leave out lines of the console that arrived before an earlier worker died."""
        page = self._server.call(
            "events.get_task_log",
            task=self._task,
            navigate_earlier=False,
            from_timestamp=mapping.milliseconds(records[0]) - 1,
            batch_size=10 * len(records),
        )
        known = Counter((event["timestamp"], event["msg"]) for event in page["events"])
        kept = []
        for event in self._events:
            line = (event["timestamp"], event.get("msg"))
            if event["type"] == "log" and known[line]:
                known[line] -= 1
            else:
                kept.append(event)
        self._events = kept

    @singledispatchmethod
    def _send(self, event: Any, record: Delivery) -> None:
        """Send an event, or collect what `_report` sends with others; kinds of a later version are left out."""
        self._run.degrade(event.kind, "left out: this version does not know it")

    @_send.register
    def _(self, _event: RunStarted, _record: Delivery) -> None:
        pass  # the task was created from it

    @_send.register
    def _(self, event: RunFinished, record: Delivery) -> None:
        pass  # `finish` follows

    @_send.register
    def _(self, event: RunResumed, record: Delivery) -> None:
        """Keep the points that this attempt will overwrite as curves of their own."""
        self._report()
        if self._run.state.get("attempt", 0) < record.attempt:
            self._keep_overlap(event.step, record.attempt - 1)
            self._run.state["attempt"] = record.attempt
            self._run.save()
        self._events.append(mapping.console(record, f"The run goes on after step {event.step}."))

    def _keep_overlap(self, step: int, attempt: int) -> None:
        """Copy what the last attempt logged above `step` to curves with its number, at the same iterations."""
        scroll = None
        while True:
            page = self._server.call(
                "events.get_task_events",
                task=self._task,
                event_type="training_stats_scalar",
                batch_size=5000,
                scroll_id=scroll,
            )
            if not page["events"]:
                return
            scroll = page["scroll_id"]
            for point in page["events"]:
                above = point["iter"] > step and not point["metric"].startswith(":monitor")
                if above and "(attempt " not in point["variant"]:
                    wanted = ("type", "timestamp", "metric", "iter", "value")
                    copy = {name: point[name] for name in wanted}
                    self._events.append({**copy, "variant": f"{point['variant']} (attempt {attempt + 1})"})
            self._report()

    @_send.register
    def _(self, event: EventsLost, record: Delivery) -> None:
        text = f"{event.count} events could not be recorded: {event.reason}"
        self._events.append(mapping.console(record, text, level="WARNING"))

    @_send.register
    def _(self, event: Scalars, record: Delivery) -> None:
        self._events += mapping.scalars(record, event, self._run)

    @_send.register
    def _(self, event: SingleValues, record: Delivery) -> None:
        self._events += mapping.single_values(record, event, self._run)

    @_send.register
    def _(self, event: Console, record: Delivery) -> None:
        # An agent reports what its process prints, before and after us too.
        if not self._run.state.get("agent"):
            self._events.append(mapping.printed(record, event))

    @_send.register
    def _(self, event: Text, record: Delivery) -> None:
        self._events.append(mapping.text(record, event))

    @_send.register
    def _(self, event: Histogram, record: Delivery) -> None:
        self._events.append(mapping.histogram(record, event))

    @_send.register
    def _(self, event: Table, record: Delivery) -> None:
        shown = mapping.table(record, event)
        self._events.append(shown)
        if event.on_model:
            self._on_model(record, shown)

    def _on_model(self, record: Delivery, plot: dict[str, Any]) -> None:
        """Show a table on the model too; it waits there until the run has one."""
        tables = self._run.state.setdefault("model_tables", [])
        model = self._run.state.get("last_model")
        if model:
            self._server.report([{**plot, "task": model, "model_event": True, "allow_locked": True}])
        else:
            tables.append(plot)

    @_send.register
    def _(self, event: Picture, record: Delivery) -> None:
        url = self._uploads.picture(record, event.file, event.name)
        if url is None:
            return
        self._events.append(mapping.image(record, event.name, url, event.step))
        path = self._run.find(event.file)
        if event.source == "figure" and path and path.suffix == ".png":
            with Image.open(path) as picture:
                size = picture.size
            self._events.append(mapping.picture_plot(record, event.name, url, size, event.step))

    @_send.register
    def _(self, event: Parameters, record: Delivery) -> None:
        if "model" in event.values:
            self._run.state["design"] = json.dumps(event.values["model"], indent=2)
        self._server.call(
            "tasks.edit_hyper_params",
            task=self._task,
            hyperparams=task.parameters(event.values),
            replace_hyperparams="none",
            force=True,
        )

    @_send.register
    def _(self, event: Configuration, record: Delivery) -> None:
        item = {"name": event.name, "value": event.text, "type": "text"}
        self._server.call("tasks.edit_configuration", task=self._task, configuration=[item], force=True)

    @_send.register
    def _(self, event: InputDataset, record: Delivery) -> None:
        values = {
            event.name: event.version,
            **{f"{event.name}/{k}": v for k, v in (event.info or {}).items()},
        }
        self._server.call(
            "tasks.edit_hyper_params",
            task=self._task,
            hyperparams=task.parameters({"Datasets": values}),
            replace_hyperparams="none",
            force=True,
        )

    @_send.register
    def _(self, event: Artifact, record: Delivery) -> None:
        if event.role == "model":
            self._register(record, event, event.name, [])
            return
        artifact = self._uploads.artifact(record, event)
        if artifact:
            self._server.call(
                "tasks.add_or_update_artifacts", task=self._task, artifacts=[artifact], force=True
            )

    @_send.register
    def _(self, event: Checkpoint, record: Delivery) -> None:
        tags = ["checkpoint", *(["best"] if event.is_best else [])]
        self._register(record, event, f"checkpoint-{event.step:08}", tags)

    def _register(self, record: Delivery, event: Artifact | Checkpoint, name: str, tags: list[str]) -> None:
        """Upload a model, and put it into the registry as a version of its own."""
        url = self._uploads.weights(record, event)
        if url is None:
            return
        facts: dict[str, Any] = {"step": event.step, **(event.metadata or {})}
        if isinstance(event, Checkpoint):
            facts |= {"epoch": event.epoch, "loss": event.loss}
        publish = bool(facts.pop("publish", None))
        known = self._run.state.setdefault("models", {})
        if str(record.seq) not in known:
            known[str(record.seq)] = self._create_model(name, url, facts, tags)
            self._run.save()
        model = self._run.state["last_model"] = known[str(record.seq)]
        metadata = [
            {"key": key, "type": type(value).__name__, "value": str(value)}
            for key, value in facts.items()
            if value is not None and key not in MODEL_FIELDS
        ]
        self._server.call("models.add_or_update_metadata", model=model, metadata=metadata)
        self._server.call(
            "tasks.add_or_update_model",
            task=self._task,
            name=name,
            model=model,
            type="output",
            iteration=event.step or 0,
        )
        for plot in self._run.state.pop("model_tables", []):
            self._server.report([{**plot, "task": model, "model_event": True, "allow_locked": True}])
        if publish and not self._server.call("models.get_by_id", model=model)["model"].get("ready"):
            self._server.call("models.set_ready", model=model, publish_task=False)

    def _create_model(self, name: str, url: str, facts: dict[str, Any], tags: list[str]) -> str:
        """Put a model into the registry, and return its id."""
        started = self._run.started
        framework = str(facts.get("framework") or "PyTorch")
        design = facts.get("config")
        created: str = self._server.call(
            "models.create",
            name=f"{started.experiment_name} - {name}",
            uri=url,
            framework={"pytorch": "PyTorch"}.get(framework.lower(), framework),
            ready=False,
            design={"design": json.dumps(design, indent=2) if design else self._run.state.get("design", "")},
            labels=facts.get("labels") or {},
            tags=[*started.tags, *tags, *(facts.get("tags") or [])],
            comment=f"made at step {facts['step']}" if facts.get("step") is not None else "",
            project=self._run.state.get("project"),
            task=self._task,
        )["id"]
        return created
