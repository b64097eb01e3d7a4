"""What `stepwise track doctor` looks at: the trackers, the server of this machine, the journal of the latest run."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from stepwise_cli.trackers import clearml_is_configured, local_server, use_local_server
from stepwise_track.backends import VARIABLE, available_backends, load_backend, wanted_backends
from stepwise_track.backends.checks import CHECKS, NotConfigured
from stepwise_track.backends.protocol import Rejected, Unreachable
from stepwise_track.errors import TrackError

NEXT_STEPS = {
    "clearml": "stepwise server status, or check CLEARML_API_HOST and the keys in clearml.conf",
    "wandb": "wandb login, or WANDB_MODE=offline",
    "mlflow": "check MLFLOW_TRACKING_URI and its credentials",
}

PACKAGES = {"clearml": "clearml", "wandb": "wandb", "mlflow": "mlflow-skinny", "tensorboard": "tensorboard"}
"""Package whose version says what a built-in backend speaks with."""


State = Literal["fine", "wrong", "unused"]


@dataclass(frozen=True)
class Finding:
    """What one look found.

    Attributes:
        subject: what was looked at.
        state: `fine`; `wrong`: in use, and it does not work; `unused`: not configured, or empty.
        message: what is so, with version and latency where there is one.
        next_step: the command or the action that comes next; empty if nothing is to be done.
    """

    subject: str
    state: State
    message: str
    next_step: str = ""


def examine(runs_dir: Path) -> Iterator[Finding]:
    """Look at everything, one after the other.

    Args:
        runs_dir: the folder of all runs.
    """
    if not clearml_is_configured():
        use_local_server()
    yield _this_server()
    try:
        wanted = set(wanted_backends(None))
    except TrackError as error:
        wanted = set()
        yield Finding(VARIABLE, "wrong", str(error), error.hint or "")
    for name in sorted(available_backends()):
        if name != "local":
            yield _backend(name, name in wanted)
    yield _latest_run(runs_dir)


def _this_server() -> Finding:
    server = local_server()
    if server is None:
        return Finding("server", "unused", "none runs on this machine", "stepwise server start --detach")
    return Finding("server", "fine", f"stepwise-server {server.version} at {server.url}")


def _backend(name: str, is_wanted: bool) -> Finding:
    """Check one tracker: is it set up, is its package there, does it answer, does it know us."""
    problem: State = "wrong" if is_wanted else "unused"
    try:
        found = version(PACKAGES[name]) if name in PACKAGES else ""
        load_backend(name)
    except PackageNotFoundError:
        return Finding(name, problem, "not installed", f"pip install 'stepwise-track[{name}]'")
    except TrackError as error:
        return Finding(name, "wrong", str(error), error.hint or "")
    label = " ".join(filter(None, [PACKAGES.get(name), found])) or "installed"
    begun = time.monotonic()
    try:
        if name == "clearml" and not clearml_is_configured() and not os.environ.get("CLEARML_OFFLINE_MODE"):
            raise NotConfigured("stepwise server start --detach, or clearml-init for a server of your own")
        message = CHECKS[name]() if name in CHECKS else ""
    except NotConfigured as how:
        return Finding(name, problem, f"{label}, not configured", str(how))
    except (Rejected, Unreachable) as error:
        return Finding(name, "wrong", f"{label}, {error}", NEXT_STEPS.get(name, ""))
    took = f", answered in {1000 * (time.monotonic() - begun):.0f} ms" if "://" in message else ""
    return Finding(name, "fine", label + (f", {message}{took}" if message else ""))


def _latest_run(runs_dir: Path) -> Finding:
    """Read the journal of the latest run from end to end."""
    from stepwise_track.reader import read_run, resolve_run, run_dirs

    if not run_dirs(runs_dir):
        return Finding("latest run", "unused", f"there are no runs in {runs_dir}", "stepwise train")
    path = resolve_run(runs_dir, "latest")
    journal = read_run(path)
    if journal.damage:
        return Finding("latest run", "wrong", journal.damage, f"stepwise runs show {path}")
    torn = f"; {journal.torn_tail} left out" if journal.torn_tail else ""
    return Finding("latest run", "fine", f"{path.name}: {len(journal.records):,} records intact{torn}")
