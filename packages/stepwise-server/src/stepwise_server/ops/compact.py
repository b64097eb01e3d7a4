"""Gives space back: what deleted rows leave in the database, and files that no row knows."""

import contextlib
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from stepwise_server import limits
from stepwise_server.errors import ServerError
from stepwise_server.files.names import RESERVED
from stepwise_server.installation import DATABASE
from stepwise_server.ops.backup import STAGING
from stepwise_server.ops.folder import locked
from stepwise_server.store import schema
from stepwise_server.store.database import Transaction
from stepwise_server.store.sweeping import sweep


@dataclass(frozen=True)
class Compacted:
    """What was given back.

    Attributes:
        database_before: bytes of the database, with its log.
        database_after: the same, now.
        orphans: files that were removed, because no row knew them.
        orphan_bytes: their size.
    """

    database_before: int
    database_after: int
    orphans: int
    orphan_bytes: int


def compact(folder: Path) -> Compacted:
    """Compact the data of a server that is not running.

    Raises:
        ServerError: if it runs, or the disk has no room for the copy that SQLite makes.
    """
    if not (folder / DATABASE).exists():
        message = f"there is no installation in {folder}"
        raise ServerError(message, hint=f"stepwise server start --folder {folder}")
    with locked(folder):
        before = _database_bytes(folder)
        for left in folder.glob(f"{STAGING}*"):
            shutil.rmtree(left, ignore_errors=True)
        connection = sqlite3.connect(folder / DATABASE, timeout=limits.BUSY_TIMEOUT_S, isolation_level=None)
        try:
            with contextlib.closing(connection):
                schema.require_current(connection)
                _tidy(connection)
                orphans, orphan_bytes = _remove_orphans(connection, folder / "files")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            message = f"{folder / DATABASE} could not be compacted: {error}"
            raise ServerError(message, hint="free some space; nothing was lost") from None
        return Compacted(before, _database_bytes(folder), orphans, orphan_bytes)


def _tidy(connection: sqlite3.Connection) -> None:
    """Remove what deleted tasks left to be swept, and revocations of tokens that have expired by now."""
    tx = Transaction(connection)
    more = True
    while more:
        connection.execute("BEGIN IMMEDIATE")
        more = sweep(tx)
        connection.execute("COMMIT")
    expired = time.time() - limits.TOKEN_SECONDS_MAX
    connection.execute("DELETE FROM revoked_tokens WHERE until < ?", [expired])


def _remove_orphans(connection: sqlite3.Connection, root: Path) -> tuple[int, int]:
    """Remove files that no row knows, such as of an upload that a power cut ended; return how many, how large."""
    known = {row[0] for row in connection.execute("SELECT path FROM files")}
    count = size = 0
    for place, folders, files in os.walk(root, topdown=False):
        for name in files:
            file = Path(place) / name
            relative = file.relative_to(root).as_posix()
            if relative not in known:
                size += file.lstat().st_size
                count += 1
                file.unlink()
        for name in folders:
            if name != RESERVED:
                with contextlib.suppress(OSError):  # it is not empty
                    (Path(place) / name).rmdir()
    return count, size


def _database_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob(f"{DATABASE}*"))
