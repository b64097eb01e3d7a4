"""What was moved to a server already: one SQLite file for each target, next to the source's data."""

import fcntl
import hashlib
import sqlite3
from pathlib import Path
from typing import Self

from stepwise_server.errors import ServerError


class Ledger:
    """The moves to one target; a context manager. Each note is on the disk when the call returns.

    Args:
        folder: where ledgers are kept.
        target: URL of the target's API.

    Raises:
        ServerError: if another export to this target is under way.
    """

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(target.encode()).hexdigest()[:16]
        self._lock = (folder / f"{name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError(f"another export to {target} is under way", hint="let it finish") from None
        self._connection = sqlite3.connect(folder / f"{name}.sqlite", isolation_level=None)
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS moved"
            " (kind TEXT, source TEXT, target TEXT, state TEXT NOT NULL DEFAULT '', PRIMARY KEY (kind, source))"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._lock.close()

    def target(self, kind: str, source: str) -> str | None:
        """Return what a source became, or None if it was not moved."""
        row = self._connection.execute(
            "SELECT target FROM moved WHERE kind = ? AND source = ?", (kind, source)
        ).fetchone()
        return row[0] if row else None

    def state(self, kind: str, source: str) -> str:
        """Return the note on a source, "" if there is none."""
        row = self._connection.execute(
            "SELECT state FROM moved WHERE kind = ? AND source = ?", (kind, source)
        ).fetchone()
        return row[0] if row else ""

    def note(self, kind: str, source: str, target: str, state: str = "") -> None:
        """Keep what a source became, with a note."""
        self._connection.execute("REPLACE INTO moved VALUES (?, ?, ?, ?)", (kind, source, target, state))
