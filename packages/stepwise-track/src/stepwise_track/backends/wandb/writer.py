"""Events of a run as calls of the W&B SDK: rows of the history, summary, config, console, artifacts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.data_types.utils import history_dict_to_json

from stepwise_track.backends.protocol import Delivery, RunContext, Unrepresentable
from stepwise_track.backends.render import as_word, merge, names_within
from stepwise_track.backends.wandb import media
from stepwise_track.backends.wandb.files import FileFinder
from stepwise_track.events import (
    Artifact,
    Checkpoint,
    Configuration,
    Console,
    EventsLost,
    FileRef,
    Histogram,
    InputDataset,
    Parameters,
    Picture,
    RunResumed,
    Scalars,
    SingleValues,
    Table,
    Text,
)
from stepwise_track.naming import safe_name

RESERVED = ("step", "epoch", "seconds", "attempt", "info")
"""Columns of every row that a series must not overwrite."""


class Writer:
    """Writes records to a run of the SDK, each at most once.

    Args:
        context: the run that is delivered.
        run: the run of the SDK.
        files: finds files of the run.
        has_rows_until: number of the last record whose row W&B has.
        has_all_until: number of the last record of which W&B has everything, also files.
        has_lines: lines of the console that W&B has; None if it cannot be asked.
        upload_wait: waits until an artifact is uploaded; None if nothing is uploaded now.

    Attributes:
        last_row: number of the last record that made a row.
    """

    def __init__(
        self,
        context: RunContext,
        run: Any,
        files: FileFinder,
        *,
        has_rows_until: int,
        has_all_until: int,
        has_lines: int | None,
        upload_wait: Callable[[wandb.Artifact], None] | None,
    ) -> None:
        self._context, self._run, self._files = context, run, files
        self._has_rows_until, self._has_all_until = has_rows_until, has_all_until
        self._has_lines, self._upload_wait = has_lines, upload_wait
        self._written = self._lines = self._lost = self.last_row = 0
        self._defined: set[str] = set()
        self._media: list[str] = []
        self._config: dict[str, Any] = {}
        self._model_tables: dict[str, Any] = {}

    def write(self, one: Delivery) -> None:
        """Write a record, unless this writer did.

        Raises:
            Unrepresentable: if the SDK does not take it.
        """
        if one.seq <= self._written:
            return
        self._written = one.seq
        try:
            self._write(one)
        except (TypeError, ValueError, AssertionError) as error:
            raise Unrepresentable(one.seq, f"the SDK does not take it ({type(error).__name__})") from error

    def _write(self, one: Delivery) -> None:
        match one.event:
            case Scalars() as event:
                self._scalars(one, event)
            case SingleValues(values):
                if values != (words := as_word(values)):
                    self._context.degrade("single_values", "NaN and infinities as words in the summary")
                self._run.summary.update(words)
            case Parameters(values):
                self._configure(values)
            case InputDataset(name, version, project, info):
                self._context.degrade("dataset", "as `input_datasets` of the config")
                self._configure(
                    {"input_datasets": {name: {"version": version, "project": project} | (info or {})}}
                )
            case Artifact() as event:
                self._artifact(one, event)
            case Checkpoint() as event:
                self._checkpoint(one, event)
            case Table() | Text() | Picture() | Histogram():
                self._show(one, one.event)
            case _:
                self._words(one)

    def take_media(self) -> list[str]:
        """Return the media files logged since the last call, as W&B names them."""
        names, self._media = self._media, []
        return names

    def _scalars(self, one: Delivery, event: Scalars) -> None:
        row: dict[str, Any] = {}
        for name, value in event.values.items():
            if name in RESERVED or name.startswith("_"):
                self._context.degrade("scalars", "renamed to `…_value`: W&B or the axes use the name")
                name = f"{name.lstrip('_')}_value"
            row[name] = value
            self._define(name, event.axis)
        if event.info:
            row["info"] = event.info
        self._row(one, row, step=event.step, epoch=event.epoch, seconds=event.seconds)

    def _define(self, name: str, axis: str) -> None:
        """Draw a series over its own axis, not over the numbers of the records."""
        if name not in self._defined:
            for hidden in {axis, "attempt"} - self._defined:
                self._run.define_metric(hidden, hidden=True)
                self._defined.add(hidden)
            self._run.define_metric(name, step_metric=axis, step_sync=False)
            self._defined.add(name)

    def _row(self, one: Delivery, values: dict[str, Any], **axes: Any) -> None:
        """Log the row of a record. Its media are uploaded even if W&B has the row: a crash comes between the two."""
        if one.seq <= self._has_all_until:
            return
        # Names of media files follow from the record alone, so a row that comes again refers to the same files.
        row = history_dict_to_json(self._run, values, step=one.seq)
        self._media += [item["path"] for item in row.values() if isinstance(item, dict) and "path" in item]
        if one.seq <= self._has_rows_until:
            return
        row |= {name: place for name, place in axes.items() if place is not None}
        row["_timestamp"] = one.time
        if one.attempt:
            row["attempt"] = one.attempt
        self._run.log(row, step=one.seq, commit=True)
        self.last_row = one.seq

    def _configure(self, values: Mapping[str, Any]) -> None:
        words = as_word(values)
        if words != values:
            self._context.degrade("parameters", "NaN and infinities as words")
        merge(self._config, words)
        self._run.config.update({key: self._config[key] for key in words}, allow_val_change=True)

    def _show(self, one: Delivery, event: Table | Text | Picture | Histogram) -> None:
        """Log what W&B shows as media."""
        if one.seq <= self._has_all_until:
            return
        shown: Any
        match event:
            case Table():
                shown = media.table(event, self._context)
                if event.on_model:
                    rows = as_word(event.rows)
                    self._model_tables[event.name] = {"columns": list(event.columns), "rows": rows}
            case Text():
                self._context.degrade("text", "as an HTML panel")
                shown = media.text(event)
            case Histogram():
                shown = media.histogram(event, self._context)
            case Picture():
                path = self._files(event.file)
                if path is None:
                    self._context.degrade("picture", "left out: the file was changed before its turn came")
                    return
                shown = media.picture(path, self._context)
                if shown is None:
                    self._log_artifact(one, f"picture-{event.name}", "picture", (event.file,), ["latest"], {})
                    return
        name = (
            event.name if event.name not in RESERVED and not event.name.startswith("_") else f"{event.name}_"
        )
        self._define(name, "step")
        row = {name: shown}
        if isinstance(event, Histogram) and event.not_finite:
            row[f"{name}/not_finite"] = event.not_finite
        self._row(one, row, step=event.step)

    def _artifact(self, one: Delivery, event: Artifact) -> None:
        metadata = dict(event.metadata or {}) | ({} if event.step is None else {"step": event.step})
        kind = "model" if event.role == "model" else "artifact"
        self._log_artifact(one, event.name, kind, event.files, ["latest"], metadata)

    def _checkpoint(self, one: Delivery, event: Checkpoint) -> None:
        facts = {"step": event.step, "epoch": event.epoch, "loss": event.loss, "is_best": event.is_best}
        aliases = ["latest", f"step-{event.step}", *(["best"] if event.is_best else [])]
        name = f"{self._context.started.experiment_name[:80]}-{self._context.journal_id[:8]}-checkpoint"
        self._log_artifact(one, name, "model", event.files, aliases, facts | (event.metadata or {}))

    def _log_artifact(
        self,
        one: Delivery,
        name: str,
        kind: str,
        files: Sequence[FileRef],
        aliases: list[str],
        metadata: Mapping[str, Any],
    ) -> None:
        """Log an artifact. W&B makes no second version of the same content, so a repeat is harmless."""
        if one.seq <= self._has_all_until:
            return
        facts = dict(metadata) | {"sha256": {file.path: file.sha256 for file in files}}
        if kind == "model" and self._model_tables:
            facts["tables"] = self._model_tables
        artifact = wandb.Artifact(_artifact_name(name), kind, metadata=as_word(facts))
        for file, place in zip(files, names_within(files), strict=True):
            path = self._files(file)
            if path is None:
                self._context.degrade(one.event.kind, "a file left out: it was changed before its turn came")
            else:
                artifact.add_file(str(path), name=place, policy="immutable", skip_cache=True)
        if artifact.manifest.entries:
            logged = self._run.log_artifact(artifact, aliases=aliases)
            if self._upload_wait:
                self._upload_wait(logged)

    def _words(self, one: Delivery) -> None:
        """Write what is words to the console, and a configuration to the files of the run."""
        match one.event:
            case Console(stream, text, dropped):
                if stream == "stderr":
                    self._context.degrade("console", "stderr and stdout in one")
                self._say(one, (f"[{dropped} lines left out]\n" if dropped else "") + text)
            case RunResumed(step):
                self._say(one, f"[resumed after step {step}]")
            case EventsLost(count, reason):
                self._lost += count
                self._run.summary.update({"events_lost": self._lost})
                self._say(one, f"[{count} events were lost here: {reason}]")
            case Configuration(name, text) if one.seq > self._has_all_until:
                path = Path(self._run.dir) / "configuration" / safe_name(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                self._run.save(str(path), base_path=self._run.dir, policy="now")

    def _say(self, one: Delivery, text: str) -> None:
        """Write lines to the console. Those that the server has are skipped: they come in order, so a count tells."""
        lines = text.split("\n")
        new = lines
        if self._has_lines is not None:
            new = lines[max(0, self._has_lines - self._lines) :]
        elif one.seq <= self._has_all_until:
            new = []
        self._lines += len(lines)
        if new:
            self._run.write_logs("\n".join(new) + "\n")


def _artifact_name(name: str) -> str:
    """Return a name that W&B takes: letters, digits, `. _ -`, at most 128."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "-" for each in name)[
        :128
    ]
