"""What can happen in a run: one small dataclass per kind of event.

An event says what was logged, in plain values, and nothing about any tracker. The journal adds the sequence
number and the time. New kinds and new fields (with defaults) may be added; a field never changes its meaning.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

from stepwise_track.errors import TrackError
from stepwise_track.values import Number

FINAL_STATUSES = ("completed", "failed", "stopped")
"""How a run can end when it says so itself."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of the run: path below the run folder (with `/`), SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The process that writes: host name, process id, start time (Unix seconds: tells a reused id apart)."""

    host: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of a run. `experiment_name` is as the user gave it; the folder's name may be tamer."""

    kind: ClassVar[str] = "run_started"
    project_name: str
    experiment_name: str
    model_type: str
    dataset: str
    process: ProcessId
    tags: tuple[str, ...] = ()
    notes: str = ""
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class RunResumed:
    """The run goes on from a checkpoint: what was logged before, at a step above `step`, no longer counts."""

    kind: ClassVar[str] = "run_resumed"
    step: int
    process: ProcessId


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The end of a run, or of one of its attempts: `completed`, `failed` or `stopped`."""

    kind: ClassVar[str] = "run_finished"
    status: str


@dataclass(frozen=True, slots=True)
class EventsLost:
    """So many events could not be written just before this one, most often because the disk was full."""

    kind: ClassVar[str] = "events_lost"
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """Settings, as a tree of plain values. Later ones add to earlier ones and replace equal keys."""

    kind: ClassVar[str] = "parameters"
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scalars:
    """Points of curves, all at one place: `{"train/loss": 0.5}`; the part before the first `/` groups them.

    Attributes:
        values: number by series name.
        step: training step when it was logged; None if no step is known.
        epoch: training epoch.
        axis: which of these is the x axis of the points.
        info: anything else that the caller wanted kept.
        seconds: seconds since the run started, for what is measured by the clock and not by the step.
    """

    kind: ClassVar[str] = "scalars"
    values: dict[str, Number]
    step: int | None
    epoch: Number | None = None
    axis: Literal["step", "epoch", "seconds"] = "step"
    info: dict[str, Any] | None = None
    seconds: float | None = None

    @property
    def place(self) -> Number | None:
        """Where the points lie on their x axis; None if that is not known."""
        return {"step": self.step, "epoch": self.epoch, "seconds": self.seconds}[self.axis]


@dataclass(frozen=True, slots=True)
class SingleValues:
    """Numbers without an x axis: final scores, counts, durations. The last one of a name counts."""

    kind: ClassVar[str] = "single_values"
    values: dict[str, Number]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain cells below named columns. `on_model`: it describes the run's model, so it is shown there too."""

    kind: ClassVar[str] = "table"
    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    step: int | None = None
    on_model: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Words: a note, a generated text, an example. `info` holds what belongs to it, such as the prompt."""

    kind: ClassVar[str] = "text"
    name: str
    text: str
    step: int | None = None
    info: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image (PNG, SVG) or a figure in the run folder. `source` is `image` or `figure`."""

    kind: ClassVar[str] = "picture"
    name: str
    file: FileRef
    source: Literal["image", "figure"]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges (one more than counts); `not_finite` are the NaN and infinite values left out."""

    kind: ClassVar[str] = "histogram"
    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    not_finite: int = 0
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """Files that a run leaves behind. `role` is `artifact`, or `model` for one to be registered as such."""

    kind: ClassVar[str] = "artifact"
    name: str
    files: tuple[FileRef, ...]
    role: Literal["artifact", "model"] = "artifact"
    step: int | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The files of a saved training state."""

    kind: ClassVar[str] = "checkpoint"
    files: tuple[FileRef, ...]
    step: int
    epoch: Number | None = None
    loss: Number | None = None
    is_best: bool = False
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """Lines that the program printed, without the last line break; what a progress bar overwrote is left out.

    Attributes:
        stream: where to.
        text: the lines, as plain text: no colours, no secrets.
        dropped: lines just before these that a flood of output left out.
    """

    kind: ClassVar[str] = "console"
    stream: Literal["stdout", "stderr"]
    text: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration in its own words: the text of a YAML or JSON file, kept beside the parameters."""

    kind: ClassVar[str] = "configuration"
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class InputDataset:
    """Data that the run reads: `version` is what names one state of it, `info` what else is known (hash, sizes)."""

    kind: ClassVar[str] = "dataset"
    name: str
    version: str
    project: str | None = None
    info: dict[str, Any] | None = None


Event = (
    RunStarted
    | RunResumed
    | RunFinished
    | EventsLost
    | Parameters
    | Scalars
    | SingleValues
    | Table
    | Text
    | Picture
    | Histogram
    | Artifact
    | Checkpoint
    | Console
    | Configuration
    | InputDataset
)

EVENT_TYPES: dict[str, type[Event]] = {event_type.kind: event_type for event_type in Event.__args__}
"""Event class by the name that the journal uses."""

_DEFAULTS = {
    event_type: tuple((field.name, field.default) for field in fields(event_type))
    for event_type in EVENT_TYPES.values()
}

_FROM_JSON: dict[str, Callable[[Any], Any]] = {
    "process": lambda process: ProcessId(**process),
    "file": lambda file: FileRef(**file),
    "files": lambda files: tuple(FileRef(**file) for file in files),
    "rows": lambda rows: tuple(tuple(row) for row in rows),
    "tags": tuple,
    "columns": tuple,
    "edges": tuple,
    "counts": tuple,
}
"""JSON knows lists and objects only: how the fields of other types are restored."""

_RESTORED = {
    kind: tuple(field.name for field in fields(event_type) if field.name in _FROM_JSON)
    for kind, event_type in EVENT_TYPES.items()
}


def event_to_fields(event: Event) -> dict[str, Any]:
    """Return the kind and the fields of an event, without those that have their default value."""
    values: dict[str, Any] = {"event": event.kind}
    for name, default in _DEFAULTS[type(event)]:
        value = getattr(event, name)
        if default is MISSING or value != default:
            values[name] = value
    return values


def event_from_fields(values: dict[str, Any]) -> Event:
    """Build the event that `event_to_fields` described.

    Raises:
        TrackError: if the kind or a field is not known here.
    """
    kind = values.pop("event", None)
    try:
        for name in _RESTORED[kind]:
            if name in values:
                values[name] = _FROM_JSON[name](values[name])
        return EVENT_TYPES[kind](**values)
    except (KeyError, TypeError):
        raise TrackError(
            f"an event {kind!r} with {', '.join(map(repr, values)) or 'no fields'} is not known here",
            hint="a newer version wrote it: pip install --upgrade stepwise-track",
        ) from None
