"""The folder of uploaded files, and the table that knows of each its size, its hash and who sent it.

A file exists for clients when its row does. Content is written beside its final place, made durable, and moved
there by the database's writing thread, in the transaction that adds the row: two uploads of one name cannot
leave the content of one with the hash of the other.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from loguru import logger as log

from stepwise_server.errors import ApiError, invalid
from stepwise_server.files import names
from stepwise_server.store.database import Database, Transaction

IN_THE_WAY = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.EINVAL}
"""What the file system says to a name that it cannot take."""


@dataclass(frozen=True)
class StoredFile:
    """A file that was opened for reading.

    Attributes:
        name: under which it was stored.
        content: open at the beginning; the reader closes it.
        size: in bytes.
        modified: seconds since 1970.
        sha256: of the content, in hex; None if file and row do not belong together, as after a crash.
    """

    name: str
    content: BinaryIO
    size: int
    modified: float
    sha256: str | None


class Incoming:
    """A file that is being received.

    Args:
        store: that it is for.
        name: under which it will be kept, cleaned.
    """

    def __init__(self, store: "FileStore", name: str) -> None:
        self.name, self.size = name, 0
        self.path = store.uploads / uuid.uuid4().hex
        self._hash = hashlib.sha256()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=1 << 18)

    @property
    def sha256(self) -> str:
        """Hash of what was received so far."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Add to the content."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Make the content durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        """Forget the content, unless it was moved to its place."""
        with contextlib.suppress(OSError):  # a full disk: closing would write the rest
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


class FileStore:
    """The stored files of an installation.

    Args:
        root: the folder; nothing outside of it is read or written.
        database: where the table is.
        hosts: `host:port` under which clients know this server.
    """

    def __init__(self, root: Path, database: Database, hosts: Iterable[str] = ()) -> None:
        self.root, self.uploads = Path(os.path.realpath(root)), Path(os.path.realpath(root)) / names.RESERVED
        self._database, self._hosts = database, frozenset(hosts)
        shutil.rmtree(self.uploads, ignore_errors=True)  # of a server that was killed
        self.uploads.mkdir(mode=0o700, parents=True)

    def keep(self, files: Sequence[Incoming], user: str) -> list[str]:
        """Move finished files to their places, and return their names once that is durable.

        Raises:
            ApiError: 400/12 if a name is in the way of another, such as a file where a folder is needed.
        """
        self._database.write(lambda tx: self._move(tx, files, user))
        folders = {folder for file in files for folder in (self.root / file.name).parents}
        for folder in folders:
            if folder.is_relative_to(self.root):
                _make_durable(folder)
        return [file.name for file in files]

    def _move(self, tx: Transaction, files: Sequence[Incoming], user: str) -> None:
        try:
            places = [self._place(file.name) for file in files]
            for file, place in zip(files, places, strict=True):
                os.replace(file.path, place)
                tx.execute(
                    "INSERT OR REPLACE INTO files (path, size, sha256, created, user) VALUES (?, ?, ?, ?, ?)",
                    [file.name, file.size, file.sha256, tx.now, user],
                )
        except OSError as error:
            if error.errno in IN_THE_WAY:
                raise invalid(f"a file cannot have this name: {error.strerror}") from None
            raise

    def _place(self, name: str) -> Path:
        """Return where a file is to lie, with its folders made."""
        place = self.root / name
        os.makedirs(place.parent, mode=0o700, exist_ok=True)
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
        self._require_inside(place.parent)
        return place

    def _require_inside(self, folder: Path) -> None:
        """Refuse a folder that is reached over a link out of the store."""
        if not Path(os.path.realpath(folder)).is_relative_to(self.root):
            raise invalid("a file's name must not lead elsewhere")

    def open(self, name: str) -> StoredFile | None:
        """Open a file, or return None if there is none of this name.

        Raises:
            ApiError: 400/12 if the name would lead out of the store.
        """
        row = self._database.read(lambda tx: _first_of(tx, [name, names.as_uploaded(name)]))
        if row is None:
            return None
        place = self.root / row[0]
        self._require_inside(place.parent)
        try:
            descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            log.warning("the stored file {!r} cannot be read: {}", name, error.strerror)
            return None
        content = os.fdopen(descriptor, "rb")
        facts = os.fstat(descriptor)
        sha256 = row[2] if row[1] == facts.st_size else None
        return StoredFile(row[0], content, facts.st_size, facts.st_mtime, sha256)

    def delete(self, name: str, *, folders: bool = False) -> list[str]:
        """Delete a file, and return the names of what was deleted.

        Args:
            name: of the file.
            folders: whether the name of a folder means all files below it.
        """
        wanted = [[name, names.as_uploaded(name)]]
        return self._database.write(lambda tx: self._remove(tx, wanted, folders=folders))

    def delete_urls(self, urls: Iterable[str]) -> int:
        """Delete the files that these URLs mean, soon and without waiting, so that any thread may call this.

        Args:
            urls: as clients stored them; those of other servers are passed over.

        Returns:
            How many of the URLs are ours.
        """
        ours = [found for url in urls if (found := names.from_url(url, self._hosts))]
        if ours:
            self._database.submit(lambda tx: self._remove(tx, ours))
        return len(ours)

    def _remove(
        self, tx: Transaction, wanted: Sequence[Sequence[str]], *, folders: bool = False
    ) -> list[str]:
        """Delete of each several possible names the first that exists; with `folders`, and all below it."""
        found: list[str] = []
        for possible in wanted:
            row = _first_of(tx, possible)
            found += [row[0]] if row else []
            if folders:  # "0" is the sign after "/"
                below = [f"{possible[0]}/", f"{possible[0]}0"]
                found += tx.column("SELECT path FROM files WHERE path > ? AND path < ?", below)
        for name in found:
            tx.execute("DELETE FROM files WHERE path = ?", [name])
            tx.after_commit(partial(self._unlink, self.root / name))
        return found

    def _unlink(self, place: Path) -> None:
        """Remove a file and the folders that it leaves empty."""
        try:
            self._require_inside(place.parent)
            place.unlink(missing_ok=True)
            for folder in place.parents:
                if folder == self.root:
                    return
                folder.rmdir()
        except (OSError, ApiError) as error:
            if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                log.warning("{} could not be removed: {}", place, error)


def _first_of(tx: Transaction, possible: Sequence[str]) -> tuple[Any, ...] | None:
    """Return path, size and hash of the first of several possible names that is stored."""
    rows = (tx.one("SELECT path, size, sha256 FROM files WHERE path = ?", [name]) for name in possible)
    return next((row for row in rows if row), None)


def _make_durable(folder: Path) -> None:
    """Wait until the entries of a folder are on the disk."""
    with contextlib.suppress(OSError):  # a folder removed meanwhile; systems that cannot do this with folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
