"""The backend: which mode, sessions that begin with the journal, and when a batch has arrived."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

from stepwise_track.backends.protocol import Backend, Delivery, Rejected, RunContext, Unrepresentable
from stepwise_track.backends.replay import earlier_records
from stepwise_track.backends.wandb.files import FileFinder
from stepwise_track.backends.wandb.session import Session, is_synced, remove_folder
from stepwise_track.backends.wandb.writer import Writer

EXIT_CODES = {"completed": 0, "failed": 1, "stopped": 255}
"""Exit codes from which W&B makes the state of a run; 255 is what its SDK says after Ctrl-C."""


class WandbBackend(Backend):
    """Sends a run to Weights & Biases.

    Settings come from W&B's own variables and files: `WANDB_MODE` (online, offline, disabled), `WANDB_DISABLED`,
    `WANDB_PROJECT` and `WANDB_ENTITY` (they win over the logger's arguments), `WANDB_DIR` (default: the run
    folder), `WANDB_API_KEY`, `WANDB_BASE_URL`. The state holds `mode`, `seq` (last record that arrived), `at_server`
    (last record that the server got in another way), `folders` (of the SDK), `finished` and `alerted`.
    """

    name = "wandb"
    fidelity: ClassVar[dict[str, str]] = {
        "run_started": "`/` of a project becomes `-`; names are cut at 128, tags at 64 characters",
        "run_finished": "`stopped` is exit code 255, as after Ctrl-C",
        "run_resumed": "a line of the console; rows of later attempts carry `attempt`",
        "scalars": "names that begin with `_` or are `step`, `epoch`, `seconds`, `attempt`, `info` get `_value`; "
        "`_runtime` counts from the delivery, `_timestamp` is true",
        "single_values": "NaN and infinities as words in the summary",
        "parameters": "NaN and infinities as words",
        "table": "rows above 200,000 are left out; one of a model is in the metadata of models logged after it",
        "text": "as an HTML panel",
        "picture": "SVG as HTML; plotly figures need plotly, else they and other formats are artifacts",
        "histogram": "at most 512 bins: neighbours are joined",
        "dataset": "as `input_datasets` of the config",
        "console": "stdout and stderr in one, stamped with the time of delivery",
        "checkpoint": "a file that was changed before its turn came is left out",
    }

    def open(self, run: RunContext) -> None:
        """Settle the mode. The run is found or made with the first batch: a look back must not restart it.

        Raises:
            Rejected: if W&B is disabled.
        """
        self._run = run
        self._mode = wandb_mode()
        self._session: Session | None = None
        self._writer: Writer | None = None
        self._last = 0
        self._online = self._mode == "online"
        self._note_sync()
        state = run.state
        if state.get("mode", self._mode) != self._mode:  # another tracker, so to speak
            if not self._online:
                state["at_server"] = state.get("seq", 0)
            state.update(seq=0, finished=None, alerted=False)
        state["mode"] = self._mode

    def _note_sync(self) -> None:
        """Leave a finished folder that `wandb sync` has sent as it is: the next one holds what comes after it."""
        state = self._run.state
        is_whole = state.get("mode") == "offline" and state.get("finished") and state.get("folders")
        if is_whole and is_synced(self._run, state["folders"][-1]):
            state.update(at_server=state["seq"], folders=[])

    def deliver(self, records: Sequence[Delivery]) -> None:
        """Log a batch; records that this session has logged already are skipped."""
        with self._new_session_after_failure():
            writer = self._writer or self._begin(records[0].seq - 1)
            for record in records:
                writer.write(record)
        self._last = records[-1].seq

    def flush(self) -> None:
        """Online, wait until W&B has the last row and the pictures; offline, the folder is the journal's shadow."""
        if self._session and self._writer:
            if self._online:
                with self._new_session_after_failure():
                    self._session.wait_for(self._writer.last_row, self._writer.take_media())
            self._remove_old_folders()
        self._run.state["seq"] = self._last

    def finish(self, status: str) -> None:
        """End the run in W&B, with an alert if it failed; returns when everything is uploaded."""
        state = self._run.state
        if not self._session and state.get("finished") == status:
            return
        with self._new_session_after_failure():
            self._finish(status)
        state["finished"] = status
        self._session = self._writer = None

    def _finish(self, status: str) -> None:
        state = self._run.state
        if not self._session:
            self._begin(state.get("seq", 0))
        assert self._session
        if status == "failed" and not (self._online and state.get("alerted")):
            name = self._run.started.experiment_name
            self._session.alert(f"{name[:50]} failed", f"{name} in {self._run.started.project_name} failed.")
            state["alerted"] = True
            self._run.save()
        self._session.finish(EXIT_CODES[status])
        self._remove_old_folders()

    @contextmanager
    def _new_session_after_failure(self) -> Iterator[None]:
        """Give a session up that failed: the next one asks W&B what it has, and goes on from there."""
        try:
            yield
        except Unrepresentable:
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the SDK's process; the run stays open in W&B if it was not finished."""
        if self._session:
            self._session.abandon()
            self._session = self._writer = None

    def _begin(self, until: int) -> Writer:
        """Begin a session, and bring it to record `until`: what W&B has is skipped, what it lacks is sent."""
        state = self._run.state
        self._session = Session(self._run, online=self._online)
        at_server = state.get("at_server", 0)
        state["finished"] = None
        state["folders"] = [*state.get("folders", []), self._session.folder.name]
        self._run.save()
        self._writer = Writer(
            self._run,
            self._session.run,
            FileFinder(self._run, keep=not self._online),
            has_rows_until=max(self._session.last_step, at_server),
            has_all_until=max(state.get("seq", 0) if self._online else 0, at_server),
            has_lines=self._session.console_lines() if self._online else None,
            upload_wait=self._session.wait_for_artifact if self._online else None,
        )
        counted = dict(self._run.degraded)
        for record in earlier_records(self._run, until):
            with suppress(Unrepresentable):  # left out, and counted, when its turn was
                self._writer.write(record)
        self._run.degraded.clear()  # what was degraded then has been counted then
        self._run.degraded.update(counted)
        return self._writer

    def _remove_old_folders(self) -> None:
        """Remove folders of before: what they have is in the newest, or at the server."""
        *old, newest = self._run.state["folders"]
        if self._session:
            for name in old:
                remove_folder(self._session.folder.with_name(name))
        self._run.state["folders"] = [newest]


def wandb_mode() -> str:
    """Return `online` or `offline`, as W&B's variables say.

    Raises:
        Rejected: if they say `disabled`; what is pending stays so.
    """
    mode = os.environ.get("WANDB_MODE", "").strip().lower() or "online"
    if mode == "disabled" or os.environ.get("WANDB_DISABLED", "").strip().lower() in ("true", "1", "yes"):
        variable = "WANDB_MODE=disabled" if mode == "disabled" else "WANDB_DISABLED"
        raise Rejected(f"W&B is disabled by {variable}; to send the run: unset it, then stepwise sync")
    if mode == "shared":
        raise Rejected("WANDB_MODE=shared is not supported here: use online or offline")
    return "offline" if mode in ("offline", "dryrun") else "online"
