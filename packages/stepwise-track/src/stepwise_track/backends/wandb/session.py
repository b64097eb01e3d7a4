"""One session of the W&B SDK: begins and ends a run, waits for the server, says in our words what went wrong."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import wandb
from wandb.errors import AuthenticationError, UsageError
from wandb.sdk.mailbox import HandleAbandonedError

from stepwise_track import limits
from stepwise_track.backends.protocol import Rejected, RunContext, Unreachable

INIT_TIMEOUT_S = 60.0
"""Seconds that W&B may take to begin a run before it counts as unreachable; less than the relay's patience."""

UPLOAD_TIMEOUT_S = 60.0
"""Seconds that an upload may take without any progress before it counts as unreachable."""

TRANSMIT_INTERVAL_S = 2.0
"""Seconds between two uploads of rows; the SDK's 15 would make every batch wait as long."""

LOG_FLUSH_S = 1.0
"""Seconds after which the SDK brings rows to its file, so that an offline folder can be looked at meanwhile."""

POLL_S = 0.5
"""Seconds between two questions whether it is there."""

USERS_DATA_DIR = os.environ.get("WANDB_DATA_DIR")
"""Where the user wants the SDK to keep what it uploads; unless set, within the folder of the session."""

CONSOLE_LINES = """
query RunConsoleLines($project: String!, $entity: String!, $name: String!) {
    model(name: $project, entityName: $entity) { bucket(name: $name) { logLineCount } }
}
"""
"""A part of what the SDK asks when it resumes a run (`RunResumeStatus`) and keeps to itself."""

REFUSED = re.compile(
    r"\b40[0134]\b|permission denied|not authorized|unauthorized|API key|relogin", re.IGNORECASE
)
BUSY = re.compile(
    r"did not respond|timed? ?out|connection|unreachable|dial tcp|no such host|\b5\d\d\b", re.IGNORECASE
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the SDK raises as `Unreachable` or `Rejected`, in one line."""
    try:
        yield
    except (wandb.errors.Error, HandleAbandonedError, TimeoutError, ConnectionError) as error:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        refused = isinstance(error, (UsageError, AuthenticationError)) or REFUSED.search(text)
        if refused and not (isinstance(error, AuthenticationError) and BUSY.search(text)):
            host = os.environ.get("WANDB_BASE_URL")
            command = f"wandb login --host {host}" if host else "wandb login"
            raise Rejected(f"W&B refuses us: {text}; next: {command}, or WANDB_MODE=offline") from None
        raise Unreachable(f"W&B does not answer: {text}") from None


class Session:
    """An open run of the SDK.

    Args:
        run: the run that is delivered.
        online: resume the run of this id at the server, else make a new offline folder.

    Attributes:
        run: the run of the SDK.
        folder: its folder.
        last_step: W&B step of the last row that the server has; 0 if none.

    Raises:
        Unreachable: the server does not answer.
        Rejected: it refuses us, or there is no API key.
    """

    def __init__(self, run: RunContext, *, online: bool) -> None:
        self._context, self._online = run, online
        with translated():
            self.run = wandb.init(
                **_names(run),
                id=run.journal_id,
                resume="allow" if online else None,
                settings=_settings(run, online),
            )
        self.folder = Path(self.run.settings.sync_dir)
        self.last_step = max(0, self.run.starting_step - 1)
        if not USERS_DATA_DIR:  # else the SDK keeps copies of tables in the home folder for ever
            os.environ["WANDB_DATA_DIR"] = str(self.folder / "data")
        self._server_run: Any = None

    def wait_for(self, step: int, media: Sequence[str]) -> None:
        """Wait until the server has the row of a step, and media files.

        Raises:
            Unreachable: if that takes longer than `UPLOAD_TIMEOUT_S`.
        """
        deadline = time.monotonic() + UPLOAD_TIMEOUT_S
        while True:
            with translated():
                if self._has_row(step) and self._has_files(media):
                    return
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"W&B does not answer: row {step} is not there after {UPLOAD_TIMEOUT_S:.0f} s"
                )
            self._context.progress()
            time.sleep(POLL_S)

    def _has_row(self, step: int) -> bool:
        if step <= self.last_step:
            return True
        self.last_step = max(self.last_step, self._server().lastHistoryStep)
        return step <= self.last_step

    def _has_files(self, media: Sequence[str]) -> bool:
        if not media:
            return True
        there = {file.name for file in self._server().files(names=list(media)) if file.size}
        return there.issuperset(media)

    def console_lines(self) -> int | None:
        """Return how many lines of the console the server has; None if it does not say."""
        if not self.run.resumed:
            return 0
        with translated():
            answer = self._server()._exec(CONSOLE_LINES)
        bucket = ((answer or {}).get("model") or {}).get("bucket") or {}
        lines: int | None = bucket.get("logLineCount")
        return lines

    def _server(self) -> Any:
        """Return the run as W&B's public API knows it."""
        if self._server_run is None:
            self._server_run = wandb.Api(timeout=20).run(self.run.path)
        return self._server_run

    def wait_for_artifact(self, artifact: wandb.Artifact) -> None:
        """Wait until an artifact is uploaded.

        Raises:
            Unreachable: if that does not happen in time; the time grows with its size.
        """
        self._context.progress()
        with translated():
            try:
                artifact.wait(timeout=int(UPLOAD_TIMEOUT_S + artifact.size / limits.UPLOAD_BYTES_PER_S))
            except ValueError as error:  # what the SDK makes of any failed upload
                raise Unreachable(f"W&B did not take {artifact.name}: {error}") from None
        self._context.progress()

    def alert(self, title: str, text: str) -> None:
        """Send an alert to those who subscribed to them."""
        with translated():
            self.run.alert(title, text, level="ERROR")

    def finish(self, exit_code: int) -> None:
        """End the run, and wait until everything is uploaded and in the file.

        Raises:
            Unreachable: if it does not upload in time.
        """
        with translated():
            self.run.finish(exit_code=exit_code)
        for path in self.folder.glob("*.wandb"):
            fd = os.open(path, os.O_RDWR)
            os.fsync(fd)
            os.close(fd)

    def abandon(self) -> None:
        """End the SDK's process, without an end of the run; an offline file first gets what was logged."""
        if not self._online:
            time.sleep(1.2 * LOG_FLUSH_S)
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if child.name().startswith("wandb-core"):
                    child.kill()
        with suppress(
            Exception, SystemExit
        ):  # else the SDK tries to end the run when the worker ends, and complains
            wandb.teardown(1)


def _names(run: RunContext) -> dict[str, Any]:
    """Return what the run is called."""
    started = run.started
    project = os.environ.get("WANDB_PROJECT") or started.project_name
    return {
        "project": re.sub(r"[/\\#?%:]", "-", project)[:128],
        "entity": os.environ.get("WANDB_ENTITY") or started.entity,
        "name": started.experiment_name[:128],
        "notes": started.notes or None,
        "tags": list(dict.fromkeys(tag[:64] for tag in started.tags if tag)),
    }


def _settings(run: RunContext, online: bool) -> wandb.Settings:
    """Return settings that leave everything out which the journal has itself, or which nobody asked for."""
    return wandb.Settings(
        mode="online" if online else "offline",
        root_dir=_root(run),
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        init_timeout=INIT_TIMEOUT_S,
        finish_timeout=UPLOAD_TIMEOUT_S,
        finish_timeout_raises=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_file_stream_transmit_interval=TRANSMIT_INTERVAL_S,
        x_transaction_log_flush_interval=LOG_FLUSH_S,
    )


def _root(run: RunContext) -> str:
    """Return the folder in which the SDK makes its folder `wandb`."""
    return os.environ.get("WANDB_DIR") or str(run.run_dir)


def is_synced(run: RunContext, folder: str) -> bool:
    """Tell whether `wandb sync` has sent a folder of the SDK; it leaves a mark then."""
    return any(Path(_root(run), "wandb", folder).glob("*.wandb.synced"))


def remove_folder(path: Path) -> None:
    """Remove a folder of the SDK, if it is one; a process of an earlier worker may still write to it."""
    if path.name.startswith(("offline-run-", "run-")):
        shutil.rmtree(path, ignore_errors=True)
