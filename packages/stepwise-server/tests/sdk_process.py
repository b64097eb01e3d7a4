"""The unmodified SDK in a process of its own.

Its threads and its forks do not always get along: now and then such a process hangs for ever, also without any
server (offline). A script is therefore given another chance, in a fresh home; what it did to the server is
repeated too, so scripts look for their own tasks by id.
"""

import subprocess
from pathlib import Path

from stepwise_server.testing import LocalServer

TRIES = 3
SECONDS = 90


def run_sdk(server: LocalServer, folder: Path, *command: str) -> str:
    """Run a command that talks to the server, in a folder that is its home; return what it printed."""
    folder.mkdir(exist_ok=True)
    for attempt in range(TRIES):
        home = folder / f"home-{attempt}"
        home.mkdir(exist_ok=True)
        environment = {**server.environment, "HOME": str(home), "CLEARML_CACHE_DIR": str(home / "cache")}
        environment |= {"CLEARML_CONFIG_FILE": str(home / "none.conf"), "PYTHONIOENCODING": "utf-8"}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            continue
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-6000:]
        return output
    raise AssertionError(f"{command} hung {TRIES} times")
