"""A backend of a third party, with a folder for a tracker: it notes what arrives, and misbehaves as it is told.

`<server>/received.txt` gets one line per event: its id, kind, step and attempt. Only where the relay says that a
batch may have arrived already (`uncertain_until`) it looks before it writes, so everything else that the relay
repeats shows as a double line. `<server>/mode` says how it behaves.
"""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from stepwise_track import limits
from stepwise_track.backends.protocol import (
    Backend,
    Delivery,
    Rejected,
    RunContext,
    Unreachable,
    Unrepresentable,
)

# This module is imported by the worker alone: its limits, for impatient tests.
limits.RETRY_FIRST_S, limits.RETRY_MAX_S = 0.05, 0.2
limits.DELIVERY_INTERVAL_S, limits.POLL_S = 0.05, 0.02
limits.WORKER_STALL_S, limits.WORKER_EXIT_S = 5.0, 2.0
limits.BATCH_RECORDS = 20


class Recorder(Backend):
    name = "recorder"
    fidelity: ClassVar[dict[str, str]] = {"table": "not kept"}

    def open(self, run: RunContext) -> None:
        self.run = run
        self.server = Path(str(run.options["server"]))
        self._behave()
        self.received = self.server / "received.txt"
        self._log("open")

    def deliver(self, records: Sequence[Delivery]) -> None:
        self._behave()
        known = set()
        if records[0].seq <= self.run.uncertain_until and self.received.exists():
            known = {line.split()[0] for line in self.received.read_text().splitlines()}
        for number, one in enumerate(records):
            if one.event.kind == "table":
                raise Unrepresentable(one.seq, "no tables here")
            if one.event.kind == "histogram":
                self.run.degrade("histogram", "as a number")
            if one.id not in known:
                with self.received.open("a") as file:
                    file.write(
                        f"{one.id} {one.event.kind} {getattr(one.event, 'step', None)} {one.attempt}\n"
                    )
            if number == len(records) // 2:
                self._behave("half")

    def flush(self) -> None:
        self._behave("flush")

    def finish(self, status: str) -> None:
        self._behave()
        self._log(f"finish {status}")

    def close(self) -> None:
        if self.server.exists():
            self._log("close")

    def _log(self, what: str) -> None:
        with (self.server / "calls.txt").open("a") as file:
            file.write(what + "\n")

    def _behave(self, place: str = "call") -> None:
        """Do what the mode says, if it is said for this place; one word less each time for `…*N`."""
        path = self.server / "mode"
        if not self.server.exists():
            raise Unreachable("no route to the tracker")
        mode = json.loads(path.read_text()) if path.exists() else {}
        if mode.get("place", "call") != place or mode.get("times", 1) < 1:
            return
        if "times" in mode:
            path.write_text(json.dumps(mode | {"times": mode["times"] - 1}))
        match mode.get("do"):
            case "unreachable":
                raise Unreachable("503 Service Unavailable")
            case "error":
                raise RuntimeError("500 Internal Server Error")
            case "reject":
                raise Rejected("401 Unauthorized")
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)
            case "babble":
                print("my key is", os.environ["TRACKER_API_KEY"])
                raise RuntimeError(f"cannot log in with {os.environ['TRACKER_API_KEY']}")
            case "slow":
                time.sleep(0.2)


class SecondRecorder(Recorder):
    name = "second"
