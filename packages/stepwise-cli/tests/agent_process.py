"""The real clearml-agent as a process that serves a queue, with the interpreter of the tests and no installations.

`STEPWISE_AGENT` names its executable, or it lies on the PATH, or in an `agent` environment beside this one.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from stepwise_server.testing import LocalServer


def find_agent() -> str | None:
    """Return the path of the agent's executable, or None."""
    beside = Path(sys.executable).parent.parent / "agent" / "bin" / "clearml-agent"
    in_prefix = Path(sys.prefix) / "agent" / "bin" / "clearml-agent"
    for path in (os.environ.get("STEPWISE_AGENT"), shutil.which("clearml-agent"), beside, in_prefix):
        if path and Path(path).is_file():
            return str(path)
    return None


class Agent:
    """A daemon that serves the queue `default`.

    Attributes:
        folder: its home; the runs of its tasks are in `runs`, the store of data in `data`, what it says in `agent.log`.
    """

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self.folder = folder
        kept = {
            key: value for key, value in server.environment.items() if not key.startswith("CLEARML_AGENT")
        }
        self.environment = {
            **{key: value for key, value in kept.items() if not key.startswith("STEPWISE_")},
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "STEPWISE_RUNS_DIR": str(folder / "runs"),
            "STEPWISE_DATA_DIR": str(folder / "data"),
            "OMP_NUM_THREADS": "1",
            "CLEARML_CONFIG_FILE": str(folder / "clearml.conf"),
            "CLEARML_WORKER_ID": "tests:agent",
            "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": sys.executable,
            "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
            "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": "0.5",
            "CLEARML_AGENT_STATUS_REPORT_FREQ_SEC": "1",
        }
        (folder / "clearml.conf").write_text("agent { package_manager { type: pip } }\n")

    def start(self) -> None:
        executable = find_agent()
        assert executable
        with (self.folder / "agent.log").open("w") as log:
            self.process = subprocess.Popen(
                [executable, "daemon", "--foreground", "--queue", "default", "--cpu-only"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
