"""What the relay and its workers have to say: `relay/relay.log` in the run folder, bounded and without secrets."""

import threading
from pathlib import Path
from typing import IO

from stepwise_track import limits
from stepwise_track.relay.cursor import FOLDER
from stepwise_track.secrets import redact, secrets_of_environment

LINE_CHARS = 4096
"""A longer line is taken in parts."""


class RelayLog:
    """Appends lines to the log of a run's relay; the threads of one process may share it.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / FOLDER / "relay.log"
        self._secrets = secrets_of_environment()
        self._mutex = threading.Lock()

    def write(self, line: str) -> None:
        """Append a line that ends with a line feed. A disk that refuses is no reason to stop."""
        line = redact(line, self._secrets)
        try:
            with self._mutex:
                if self.path.exists() and self.path.stat().st_size > limits.RELAY_LOG_BYTES:
                    self.path.replace(self.path.with_name("relay.log.1"))
                with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(line)
        except OSError:
            return

    def follow(self, name: str, stream: IO[str]) -> None:
        """Write what a worker prints, until it ends."""
        while line := stream.readline(LINE_CHARS):
            self.write(f"{name}: {line.rstrip()}\n")
