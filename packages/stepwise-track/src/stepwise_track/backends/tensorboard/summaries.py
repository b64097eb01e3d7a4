"""Events of a run as TensorBoard's summaries."""

import io
import json
import math
from collections.abc import Iterator
from typing import Any

from PIL import Image, UnidentifiedImageError
from tensorboard.compat.proto import (  # type: ignore[import-untyped]
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped]
from tensorboard.plugins.text import metadata as text_metadata  # type: ignore[import-untyped]

from stepwise_track.backends.protocol import Delivery, RunContext
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
    RunFinished,
    RunResumed,
    RunStarted,
    Scalars,
    SingleValues,
    Table,
    Text,
)
from stepwise_track.values import Number

LARGEST_FLOAT32 = 3.4028234663852886e38

MAX_TABLE_ROWS = 1000
"""Rows of a table that are shown: TensorBoard renders a text in one piece."""

SHOWN_FORMATS = ("PNG", "JPEG", "GIF")
"""Pictures that TensorBoard's page can show as they are; others become PNG."""

StepSummary = tuple[int, Any]
"""A step and what is to be shown there."""


class Summarizer:
    """Turns the records of one batch into summaries.

    Args:
        run: what to count degraded values in, and where parameters and single values so far are kept.

    Attributes:
        kept: parameters and single values including this batch, to be kept when it is written.
        has_new_parameters: whether the batch has parameters.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self.kept: dict[str, Any] = {
            "parameters": dict(run.state.get("parameters", {})),
            "single_values": dict(run.state.get("single_values", {})),
        }
        self.has_new_parameters = self._has_new_values = False

    def summaries(self, one: Delivery) -> Iterator[StepSummary]:
        """Yield what shows a record. Parameters and single values are collected instead."""
        step = getattr(one.event, "step", None) or 0
        match one.event:
            case Scalars() as event:
                yield self._scalars(event)
            case Parameters(values):
                self.has_new_parameters = True
                self.kept["parameters"] |= _flat(values)
            case SingleValues(values):
                self._has_new_values = True
                self.kept["single_values"] |= values
            case Table(name, columns, rows):
                yield step, text_summary(name, self._table(columns, rows))
            case Text(name, text, _, info):
                yield step, text_summary(name, f"{_bullets(info)}\n\n{text}" if info else text)
            case Picture() as event:
                if summary := self._picture(event):
                    yield step, summary
            case Histogram() as event:
                yield step, self._histogram(event)
            case Artifact(name, files, role, _, metadata):
                self._run.degrade("artifact", "as a text with path, size and SHA-256")
                yield one.seq, text_summary(f"{role}s/{name}", _files(files) + _bullets(metadata))
            case Checkpoint(files):
                self._run.degrade("checkpoint", "as a text with path, size and SHA-256")
                facts: dict[str, Any] = {
                    "epoch": one.event.epoch,
                    "loss": one.event.loss,
                    "best": one.event.is_best,
                }
                yield step, text_summary("checkpoints", _files(files) + _bullets(facts))
            case Console(stream, text):
                self._run.degrade("console", "as texts, of which TensorBoard shows a sample")
                yield one.seq, text_summary(f"console/{stream}", _code(text))
            case Configuration(name, text):
                yield 0, text_summary(f"configurations/{name}", _code(text))
            case InputDataset(name, version, project, info):
                facts = {"version": version, "project": project} | (info or {})
                yield 0, text_summary(f"datasets/{name}", _bullets(facts))
            case RunStarted() as event:
                facts = {"project": event.project_name, "run": event.experiment_name, "notes": event.notes}
                yield 0, text_summary("run", _bullets(facts | {"tags": ", ".join(event.tags)}))
            case RunResumed(step):
                yield step, text_summary("run", f"resumed after step {step}")
            case EventsLost(count, reason):
                yield one.seq, text_summary("events lost", f"{count} events were lost here: {reason}")
            case RunFinished():
                pass  # `finish` tells it
            case other:
                self._run.degrade(other.kind, "left out: not known here")

    def parameters(self) -> dict[str, bool | Number | str]:
        """Return the parameters so far, as HPARAMS takes them."""
        parameters = self.kept["parameters"]
        return {
            name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
            for name, value in parameters.items()
        }

    def single_values_text(self) -> Any:
        """Return the table of the single values so far if the batch has any; else None."""
        if not self._has_new_values:
            return None
        rows = tuple(self.kept["single_values"].items())
        return text_summary("single values", self._table(("name", "value"), rows))

    def _scalars(self, event: Scalars) -> StepSummary:
        place = event.place
        if place is None:
            self._run.degrade("scalars", "without a step: at 0")
        summary = summary_pb2.Summary()
        for name, value in event.values.items():
            if math.isfinite(value) and abs(value) > LARGEST_FLOAT32:
                self._run.degrade("scalars", "beyond single precision: infinite")
                value = math.copysign(math.inf, value)
            summary.value.add(tag=name, simple_value=value)
        return int(place or 0), summary

    def _table(self, columns: tuple[str, ...], rows: tuple[tuple[Any, ...], ...]) -> str:
        if len(rows) > MAX_TABLE_ROWS:
            self._run.degrade("table", f"cut after {MAX_TABLE_ROWS} rows")
        self._run.degrade("table", "as Markdown text")
        lines = [_row(columns), _row(["---"] * len(columns)), *map(_row, rows[:MAX_TABLE_ROWS])]
        return "\n".join(lines) + (f"\n\n… {len(rows)} rows in all" if len(rows) > MAX_TABLE_ROWS else "")

    def _picture(self, event: Picture) -> Any:
        """Return the picture, or None if it cannot be shown."""
        path = self._run.find(event.file)
        if path is None:
            self._run.degrade("picture", "left out: the file was replaced or removed before its turn")
            return None
        try:
            with Image.open(path) as image:
                if image.format in SHOWN_FORMATS:
                    encoded = path.read_bytes()
                else:
                    buffer = io.BytesIO()
                    image.convert("RGBA").save(buffer, "PNG")
                    encoded = buffer.getvalue()
                shape = {"height": image.height, "width": image.width, "colorspace": len(image.getbands())}
        except (UnidentifiedImageError, OSError):
            self._run.degrade("picture", f"left out: {path.suffix or 'this format'} cannot be shown")
            return None
        picture = summary_pb2.Summary.Image(encoded_image_string=encoded, **shape)
        return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=event.name, image=picture)])

    def _histogram(self, event: Histogram) -> Any:
        if event.not_finite:
            self._run.degrade("histogram", "without its NaN and infinite values", event.not_finite)
        middles = [(left + right) / 2 for left, right in zip(event.edges, event.edges[1:], strict=False)]
        pairs = list(zip(middles, event.counts, strict=True))
        histogram = summary_pb2.HistogramProto(
            min=event.edges[0],
            max=event.edges[-1],
            num=sum(event.counts),
            sum=math.fsum(middle * count for middle, count in pairs),
            sum_squares=math.fsum(middle**2 * count for middle, count in pairs),
            bucket_limit=event.edges[1:],
            bucket=event.counts,
        )
        return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=event.name, histo=histogram)])


def text_summary(tag: str, text: str) -> Any:
    """Return a summary that shows Markdown under a tag."""
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
        string_val=[text.encode("utf-8", "replace")],
    )
    metadata = text_metadata.create_summary_metadata(display_name="", description="")
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def hparams_start_summary(parameters: dict[str, bool | Number | str], name: str, time: float) -> Any:
    """Return what makes an attempt a row of the HPARAMS table; the same bytes for the same parameters."""
    summary = hparams_pb(parameters, trial_id=name, start_time_secs=time)
    plugin = summary.value[0].metadata.plugin_data
    content = plugin_data_pb2.HParamsPluginData.FromString(plugin.content)
    plugin.content = content.SerializeToString(deterministic=True)
    return summary


def hparams_end_summary(status: str, time: float) -> Any:
    """Return what tells HPARAMS the end of an attempt."""
    states = {"completed": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
    info = plugin_data_pb2.SessionEndInfo(
        status=states.get(status, api_pb2.STATUS_UNKNOWN), end_time_secs=time
    )
    value = summary_pb2.Summary.Value(
        tag=hparams_metadata.SESSION_END_INFO_TAG,
        metadata=hparams_metadata.create_summary_metadata(
            plugin_data_pb2.HParamsPluginData(session_end_info=info)
        ),
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return summary_pb2.Summary(value=[value])


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a tree into one level: `model.d_model`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _row(cells: Any) -> str:
    texts = (" ".join(str(cell).split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def _bullets(facts: dict[str, Any] | None) -> str:
    return "\n".join(f"* {key}: {value}" for key, value in (facts or {}).items() if value not in (None, ""))


def _files(files: tuple[FileRef, ...]) -> str:
    return "".join(f"* `{file.path}`: {file.size} bytes, SHA-256 {file.sha256}\n" for file in files)


def _code(text: str) -> str:
    """Return a text as Markdown that shows it as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
