"""TensorBoard: the run as event files in `tensorboard/` of the run folder, by TensorBoard's own messages and writer.

One file per attempt, each in a folder that TensorBoard shows as a run: the first attempt in `tensorboard/` itself,
a resumed one in `tensorboard/attempt-2/`, …; so the overlap of two attempts can be shown or hidden by choosing
runs, and no step is shifted. The size of every file is kept with the cursor: what a crash wrote beyond it is cut
off before the batch is written again, byte for byte the same.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tensorboard.compat.proto import event_pb2  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from stepwise_track.backends.protocol import Backend, Delivery, RunContext, Unreachable
from stepwise_track.backends.tensorboard.summaries import (
    Summarizer,
    hparams_end_summary,
    hparams_start_summary,
)
from stepwise_track.events import RunResumed


class TensorBoardBackend(Backend):
    """Writes event files; needs no server.

    Option `logdir`: another folder for the event files, of all runs, each below its name; a relative path begins in
    the run folder (`../logs` is beside it).
    """

    name = "tensorboard"
    fidelity: ClassVar[dict[str, str]] = {
        "scalars": "single precision: seven digits; times on the x axis in whole seconds",
        "single_values": "in a Markdown table, `single values`",
        "table": "as Markdown text",
        "picture": "PNG, JPEG and what Pillow reads; SVG and plotly figures are left out",
        "histogram": "sum and squares are estimated from the bins",
        "parameters": "HPARAMS shows those of the start of an attempt; all are in a text",
        "artifact": "as a text with path, size and SHA-256",
        "checkpoint": "as a text with path, size and SHA-256",
        "console": "as texts, of which TensorBoard shows a sample",
        "run_finished": "`stopped` has no state of its own: shown as unknown in HPARAMS",
    }

    def open(self, run: RunContext) -> None:
        """Find the place; files are made with the first batch."""
        self.run = run
        logdir = run.options.get("logdir")
        self.folder = run.run_dir / "tensorboard"
        if logdir:
            self.folder = run.run_dir / Path(logdir).expanduser() / run.run_dir.name
        run.state.setdefault("sizes", {})
        self._new: dict[int, list[bytes]] = {}
        self._summarizer = Summarizer(run)

    def deliver(self, records: Sequence[Delivery]) -> None:
        """Build the messages of a batch; `flush` writes them."""
        self._new = {}
        self._summarizer = Summarizer(self.run)
        self._summarizer.kept["last_time"] = records[-1].time
        for one in records:
            if isinstance(one.event, RunResumed):  # the new attempt is a run of its own in HPARAMS
                self._add_parameters(one.attempt, one.time)
            for step, summary in self._summarizer.summaries(one):
                self._add(one.attempt, one.time, step, summary)
        last = records[-1]
        if self._summarizer.has_new_parameters:
            self._add_parameters(last.attempt, last.time)
        if text := self._summarizer.single_values_text():
            self._add(last.attempt, last.time, last.seq, text)

    def flush(self) -> None:
        """Bring the messages to the disk and note the new sizes."""
        sizes = {str(attempt): self._append(attempt, messages) for attempt, messages in self._new.items()}
        self._new = {}
        self.run.state["sizes"] |= sizes
        self.run.state |= self._summarizer.kept

    def finish(self, status: str) -> None:
        """Tell HPARAMS how the last attempt ended."""
        attempt = max(map(int, self.run.state["sizes"]), default=0)
        ended = self.run.state["last_time"]
        self._add(attempt, ended, 0, hparams_end_summary(status, ended))
        self.flush()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _add(self, attempt: int, time: float, step: int, summary: Any) -> None:
        message = event_pb2.Event(wall_time=time, step=step, summary=summary)
        self._new.setdefault(attempt, []).append(message.SerializeToString())

    def _add_parameters(self, attempt: int, time: float) -> None:
        """Give the parameters known so far to HPARAMS; it takes the first that an attempt has."""
        parameters = self._summarizer.parameters()
        if parameters:
            name = f"{self.run.journal_id}-{attempt}"
            self._add(attempt, time, 0, hparams_start_summary(parameters, name, time))

    def _path(self, attempt: int) -> Path:
        folder = self.folder / f"attempt-{attempt + 1}" if attempt else self.folder
        created = int(self.run.started.process.started)
        return folder / f"events.out.tfevents.{created:010d}.{self.run.journal_id[:12]}.stepwise"

    def _append(self, attempt: int, messages: list[bytes]) -> int:
        """Append messages to the file of an attempt, after what is known to belong there; return its size.

        Raises:
            Unreachable: the disk refuses.
        """
        buffer = io.BytesIO()
        writer = RecordWriter(buffer)
        known = self.run.state["sizes"].get(str(attempt), 0)
        path = self._path(attempt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                size = min(known, file.seek(0, os.SEEK_END))
                file.truncate(size)
                if not size:
                    writer.write(_version_message(self.run.started.process.started))
                for message in messages:
                    writer.write(message)
                file.write(buffer.getvalue())
                file.flush()
                os.fsync(file.fileno())
                return file.tell()
        except OSError as error:
            raise Unreachable(f"cannot write {path}: {error.strerror or error}") from error


def _version_message(time: float) -> bytes:
    """Return the message that every event file begins with."""
    message: bytes = event_pb2.Event(wall_time=time, file_version="brain.Event:2").SerializeToString()
    return message
