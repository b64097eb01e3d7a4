"""Runs of many processes, as torchrun starts them: rank 0 logs the run, the others their hardware only.

Each other rank keeps its latest figures in `ranks/<rank>/machine.json` below the run folder. Rank 0 adds them to
the journal as `machine/rank_<rank>/…`, so every tracker gets them in the ordinary way.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stepwise_track.cost import CallCost
from stepwise_track.errors import TrackError
from stepwise_track.events import FINAL_STATUSES, Event


def rank_of_process() -> int:
    """Return the rank that torchrun gave this process in the environment; 0 for a single process."""
    return _number("RANK") if "WORLD_SIZE" in os.environ else 0


def is_first_of_machine() -> bool:
    """Tell whether this process is the one of its machine that measures the whole machine."""
    return _number("LOCAL_RANK") == 0


def _number(variable: str) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdigit() else 0


class RankSession:
    """Stands in for the session of a run in the processes that log nothing; same methods as `RunSession`."""

    silent = True

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.cost = CallCost()
        self.before_finish: list[Callable[[], None]] = []
        self._finished = False

    def append(self, event: Event, begun: float | None = None) -> None:
        """Leave out an event: rank 0 logs it."""

    def record(self, event: Event) -> None:
        """Leave out an event: rank 0 logs it."""

    @contextmanager
    def surviving_full_disk(self) -> Iterator[None]:
        """Do nothing around what is done."""
        yield

    def finish(self, status: str, wait_s: float = 0.0) -> None:
        """End the measuring of the hardware.

        Raises:
            TrackError: if the status is none of `completed`, `failed`, `stopped`.
        """
        if status not in FINAL_STATUSES:
            raise TrackError(f"a run cannot finish as {status!r}", hint=f"one of {', '.join(FINAL_STATUSES)}")
        if not self._finished:
            self._finished = True
            for prepare in self.before_finish:
                prepare()


class RankFile:
    """The latest figures of one rank, in a file that is always whole.

    Args:
        run_dir: the run folder.
        rank: whose they are; not 0.
    """

    def __init__(self, run_dir: Path, rank: int) -> None:
        self._path = run_dir / "ranks" / str(rank) / "machine.json"

    def write(self, values: dict[str, float]) -> None:
        """Replace the figures; a folder that cannot be written is no reason to stop."""
        text = json.dumps({"time": time.time(), "host": platform.node(), "values": values})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(self._path)
        except OSError:
            return


class OtherRanks:
    """Reads what the other ranks measured since the last look.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / "ranks"
        self._seen: dict[str, float] = {}
        self.read()  # what an earlier attempt left there is old

    def read(self) -> dict[str, float]:
        """Return the new figures, named like `rank_1/process_cpu_percent`."""
        values: dict[str, float] = {}
        for path in sorted(self._folder.glob("*/machine.json")):
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            rank = path.parent.name
            if found["time"] != self._seen.get(rank):
                self._seen[rank] = found["time"]
                values |= {f"rank_{rank}/{name}": value for name, value in found["values"].items()}
        return values
