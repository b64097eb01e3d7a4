"""Signs of life: which runs are alive, said within seconds, beside the status that ClearML knows.

A task's process pings each 30 seconds and reports events; the worker that runs it reports each 30 seconds. All of
these set the task's `last_update`: they are signs of life. Between them the SDK asks for the status of its own
task each two seconds, and the agent each five. Such a question is a pulse: another process may ask the same about
a task that died, so a pulse never makes a run live for longer. But where there was one, its absence tells within
seconds that the process is gone.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from stepwise_server import limits

State = Literal["waiting", "live", "stalled", "dead", "ended"]

WAITING = ("created", "queued")
RUNNING = "in_progress"

_ID_CHARACTERS = 64
_STATUS_FIELDS = [["status", "status_message"], ["status", "status_message", "id"]]
"""What agent and SDK ask for, and nobody else."""


def _now() -> float:
    return datetime.now(UTC).timestamp()


class Pulse(NamedTuple):
    """When a task's status was last asked for.

    Attributes:
        last: the time.
        gap: seconds between two questions: the longest of late, for users can set how often the SDK asks.
    """

    last: float
    gap: float = 0.0

    def next(self, now: float) -> "Pulse":
        """Return the pulse after one more question; after a long pause it begins anew."""
        gap = now - self.last
        return Pulse(now, max(gap, self.gap / 2)) if gap < limits.LIVE_SECONDS else Pulse(now)

    def stopped(self, now: float) -> bool:
        """Tell whether the next question is overdue. Long after the last one nothing can be said."""
        return max(limits.PULSE_SECONDS, 3 * self.gap) < now - self.last < limits.LIVE_SECONDS


@dataclass
class Heartbeats:
    """What a server remembers of the runs' signs of life, besides their `last_update`; times in seconds since 1970.

    Attributes:
        listening_since: when the server started, or woke with its machine: a silence that it could not have
            heard makes no run dead.
        pulses: by task; the one that was asked for last is at the end.
        ticked: when `tick` was last called.
    """

    listening_since: float = field(default_factory=_now)
    pulses: dict[str, Pulse] = field(default_factory=dict)
    ticked: float = field(default_factory=_now)

    def tick(self, period: float) -> None:
        """Say each `period` seconds that the server is awake; a far longer pause means that it was not."""
        now = _now()
        if now - self.ticked > 2 * period + limits.PULSE_SECONDS:
            self.listening_since = now
        self.ticked = now

    def observe(self, params: dict[str, Any]) -> None:
        """Take a call of tasks.get_all for a pulse if it asks for the status of one task and for nothing else."""
        if params.get("only_fields") not in _STATUS_FIELDS:
            return
        match params.get("id"):
            case [str(task)] if len(task) <= _ID_CHARACTERS:
                now, before = _now(), self.pulses.pop(task, None)
                self.pulses[task] = before.next(now) if before else Pulse(now)
                if len(self.pulses) > limits.PULSES:
                    self.pulses.pop(next(iter(self.pulses)))

    def state(self, task: str, status: str, sign: float, now: float) -> State:
        """Return how a run is.

        Args:
            task: id of the task.
            status: the task's status.
            sign: when the last sign of life came.
            now: the time.
        """
        if status != RUNNING:
            return "waiting" if status in WAITING else "ended"
        silence = now - sign
        if now - max(sign, self.listening_since) > limits.DEAD_SECONDS:
            return "dead"
        if silence > limits.LIVE_SECONDS:
            return "stalled"
        pulse = self.pulses.get(task)
        if pulse and pulse.stopped(now) and silence > limits.PULSE_SECONDS:
            return "stalled"
        return "live"
