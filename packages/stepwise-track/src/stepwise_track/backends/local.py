"""The journal itself, under the name of a backend: always on, complete by definition, in need of no relay."""

from collections.abc import Sequence

from stepwise_track.backends.protocol import Backend, Delivery, RunContext


class LocalBackend(Backend):
    """Does nothing, because the run folder holds everything already; `stepwise runs` reads it there."""

    name = "local"

    def open(self, run: RunContext) -> None:
        """Do nothing."""

    def deliver(self, records: Sequence[Delivery]) -> None:
        """Do nothing: what could be delivered was read from here."""

    def finish(self, status: str) -> None:
        """Do nothing: the journal ends with its own `run_finished`."""

    def flush(self) -> None:
        """Do nothing: the journal brings itself to the disk."""

    def close(self) -> None:
        """Do nothing."""
