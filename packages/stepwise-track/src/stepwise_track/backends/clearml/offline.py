"""An official offline session: the run as a zip, for `Task.import_offline_session` on a machine with a server.

The SDK can only write such a session in one go, so it is written when the run is over, from the whole journal.
A second time replaces the first: nothing is twice. Import it with

    python -c "from clearml import Task; Task.import_offline_session('runs/<run>/clearml-offline.zip')"
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearml import Task

from stepwise_track import events as kinds
from stepwise_track.backends.clearml import mapping
from stepwise_track.backends.clearml.files import Package
from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.journal import read_journal

INHERITED = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID", "CLEARML_TASK_ID", "TRAINS_TASK_ID")
"""What an SDK in the training's own process leaves to its children: with them ours would take itself for one."""

SESSION = "clearml-offline.zip"
"""The session, in the run folder."""


def wanted(options: dict[str, Any]) -> bool:
    """Tell whether the user wants an offline session: option `offline`, or the SDK's own CLEARML_OFFLINE_MODE."""
    variable = os.environ.get("CLEARML_OFFLINE_MODE", os.environ.get("TRAINS_OFFLINE_MODE", ""))
    return bool(options.get("offline")) or variable.lower() in ("1", "true", "yes")


def write_session(run: RunContext, status: str) -> Path:
    """Write the session of a run that is over, and return its path."""
    # The process that the SDK forks for its reports now and then never ends; a thread does as well here.
    os.environ["CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS"] = "false"
    for name in INHERITED:
        os.environ.pop(name, None)
    Task.set_offline(True)
    task: Any = Task.init(
        project_name=run.started.project_name,
        task_name=run.started.experiment_name,
        tags=list(run.started.tags),
        reuse_last_task_id=False,
        auto_connect_arg_parser=False,
        auto_connect_frameworks=False,
        auto_connect_streams=False,
        auto_resource_monitoring=False,
    )
    task.set_comment(run.started.notes)
    writer = Writer(task, run)
    for record in read_journal(run.run_dir / "journal"):
        delivery = Delivery(run.journal_id, record.seq, record.time, record.event)
        writer.write(record.event, delivery)
        run.progress()
    if status == "failed":
        task.mark_failed(force=True)
    folder = Path(str(task.get_offline_mode_folder()))
    task.close()
    packed = folder.with_suffix(".zip")
    target = run.run_dir / SESSION
    shutil.copyfile(packed, target.with_suffix(".part"))
    target.with_suffix(".part").replace(target)
    packed.unlink()
    return target


class Writer:
    """Writes events with the SDK's reporting calls."""

    def __init__(self, task: Any, run: RunContext) -> None:
        self._task, self._run, self._logger = task, run, task.get_logger()
        self._by_kind: dict[type, Callable[[Any, Delivery], None]] = {
            kinds.Scalars: self._scalars,
            kinds.SingleValues: self._single_values,
            kinds.Table: self._plot(mapping.table),
            kinds.Histogram: self._plot(mapping.histogram),
            kinds.Text: lambda event, record: self._line(mapping.text(record, event)),
            kinds.Console: lambda event, record: self._line(mapping.printed(record, event)),
            kinds.Parameters: lambda event, record: self._parameters(event),
            kinds.Configuration: lambda event, record: task.connect_configuration(
                event.text, name=event.name
            ),
            kinds.InputDataset: lambda event, record: self._dataset(event),
            kinds.Picture: self._picture,
            kinds.Artifact: self._artifact,
            kinds.Checkpoint: self._checkpoint,
        }

    def write(self, event: Any, record: Delivery) -> None:
        """Write one event; start and end of the run are the session's own."""
        if writer := self._by_kind.get(type(event)):
            writer(event, record)

    def _scalars(self, event: kinds.Scalars, record: Delivery) -> None:
        self._points(mapping.scalars(record, event, self._run))

    def _single_values(self, event: kinds.SingleValues, record: Delivery) -> None:
        self._points(mapping.single_values(record, event, self._run))

    def _points(self, points: list[dict[str, Any]]) -> None:
        for point in points:
            if point["type"] == "log":
                self._line(point)
            elif point["iter"] == mapping.SINGLE_VALUE:
                self._logger.report_single_value(point["variant"], point["value"])
            else:
                self._logger.report_scalar(point["metric"], point["variant"], point["value"], point["iter"])

    def _line(self, line: dict[str, Any]) -> None:
        self._logger.report_text(line["msg"], print_console=False)

    def _plot(self, shown: Callable[[Delivery, Any], dict[str, Any]]) -> Callable[[Any, Delivery], None]:
        def write(event: Any, record: Delivery) -> None:
            plot = shown(record, event)
            self._logger.report_plotly(
                plot["metric"], plot["variant"], json.loads(plot["plot_str"]), iteration=plot["iter"]
            )

        return write

    def _parameters(self, event: kinds.Parameters) -> None:
        for key, value in event.values.items():
            section, tree = (key, value) if isinstance(value, dict) else ("General", {key: value})
            self._task.connect(dict(tree), name=section)

    def _dataset(self, event: kinds.InputDataset) -> None:
        self._task.connect({event.name: event.version, **(event.info or {})}, name="Datasets")

    def _picture(self, event: kinds.Picture, record: Delivery) -> None:
        title, series = mapping.title_and_series(event.name)
        if path := self._run.find(event.file):
            self._logger.report_image(title, series, iteration=event.step or 0, local_path=str(path))

    def _artifact(self, event: kinds.Artifact, record: Delivery) -> None:
        self._upload(event.name, event.files, model=event.role == "model")

    def _checkpoint(self, event: kinds.Checkpoint, record: Delivery) -> None:
        best = " (best)" if event.is_best else ""
        self._upload(f"checkpoint-{event.step:08}{best}", event.files, model=True)

    def _upload(self, name: str, files: tuple[kinds.FileRef, ...], *, model: bool) -> None:
        """Add files as an artifact; models too, for the SDK cannot update one while it is offline."""
        if model:
            self._run.degrade("model", "as an artifact: an offline session cannot hold models")
        if package := self._package(files, name):
            with package as file:
                self._task.upload_artifact(name, str(file.path), wait_on_upload=True)

    def _package(self, files: tuple[kinds.FileRef, ...], name: str) -> Package | None:
        found = [path for path in map(self._run.find, files) if path]
        if len(found) < len(files):
            self._run.degrade("artifact", "a file was replaced or removed before it could be sent")
            return None
        return Package(found, name)
