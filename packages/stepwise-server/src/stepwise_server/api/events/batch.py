"""What a batch of events amounts to: for each task or model what it reported, and what was refused."""

from collections import Counter
from dataclasses import dataclass, field

from stepwise_server.errors import ApiError
from stepwise_server.store.events import NewEvent
from stepwise_server.store.logs import NewLine
from stepwise_server.store.scalars import Points

SCALAR, VECTOR, IMAGE, PLOT, LOG = (
    "training_stats_scalar",
    "training_stats_vector",
    "training_debug_image",
    "plot",
    "log",
)
TYPES = frozenset({SCALAR, VECTOR, IMAGE, PLOT, LOG})

DIFFERENT_ERRORS = 50
"""So many reasons are told apart in one answer."""


@dataclass(slots=True)
class Report:
    """What a batch has for one task or model.

    Attributes:
        owner: id of the task or model.
        model: whether it is a model.
        allow_locked: whether it may be published.
        count: number of events.
        last_iteration: the highest that counts.
        points: scalars.
        lines: console lines.
        events: plots, images, vectors.
        metrics: (metric, type) of all events.
    """

    owner: str
    model: bool
    allow_locked: bool
    count: int = 0
    last_iteration: int = 0
    points: list[Points] = field(default_factory=list)
    lines: list[NewLine] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    metrics: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Batch:
    """A decoded batch: reports by owner, and how many events were refused for which reason."""

    reports: dict[str, Report] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count events that are not stored; after some reasons, which may hold the client's words, all are one."""
        known = reason in self.errors or len(self.errors) < DIFFERENT_ERRORS
        self.errors[reason if known else "other errors"] += count

    def report_for(self, owner: str, *, model: bool, allow_locked: bool) -> Report:
        """Return the report of an owner.

        Raises:
            ApiError: 400/12 if the batch contradicts itself.
        """
        report = self.reports.get(owner)
        if report is None:
            report = self.reports[owner] = Report(owner, model, allow_locked)
        if report.model != model:
            raise ApiError(400, 12, "Inconsistent model_event setting in the batch", id=owner)
        if report.allow_locked != allow_locked:
            raise ApiError(400, 12, "Inconsistent allow_locked setting in the batch", id=owner)
        return report
