"""Everything of an installation in one file, while training writes to it.

The archive is a tar: `server.sqlite`, `files/…`, `client.json`, `token.secret`, and last `manifest.json` with the
versions and the SHA-256 of each. For as long as it takes to link the files, calls that write wait; what is saved is
exactly the state of that moment.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stepwise_server import __version__, clock, limits
from stepwise_server.errors import ServerError
from stepwise_server.installation import DATABASE
from stepwise_server.ops.access import changing
from stepwise_server.store import schema

FORMAT = 1
"""Version of the archive's form."""

MANIFEST = "manifest.json"
SECRETS = ("client.json", "token.secret")
STAGING = ".backup-"


@dataclass(frozen=True)
class Backup:
    """What was saved.

    Attributes:
        archive: the file.
        bytes: its size.
        files: how many uploaded files are in it.
        damaged: names of files that are missing or not what was uploaded; not in the archive if missing.
    """

    archive: Path
    bytes: int
    files: int
    damaged: list[str]


def backup(folder: Path, archive: Path) -> Backup:
    """Save an installation.

    Args:
        folder: the data folder; its server may run.
        archive: file to write, readable for the owner alone: it holds the secrets. Whole or not at all.

    Raises:
        ServerError: if there is no installation or the disk is full.
    """
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    try:
        with _snapshot(folder) as (staging, known):
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as output:
                damaged = _write(staging, known, output)
                output.flush()
                os.fsync(output.fileno())
            os.replace(unfinished, archive)
    except OSError as error:
        message = f"the backup {archive} could not be written: {error.strerror or error}"
        raise ServerError(message, hint="free some space, or choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return Backup(archive.absolute(), archive.stat().st_size, len(known), damaged)


@contextmanager
def _snapshot(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a folder with the database and links to the files as they were at one moment, and the files' hashes."""
    with contextlib.ExitStack() as stack:
        with changing(folder) as tx:  # nobody else writes, nor moves a file to its place
            for left in folder.glob(f"{STAGING}*"):
                shutil.rmtree(left, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
            stack.callback(shutil.rmtree, staging, ignore_errors=True)
            known: dict[str, str] = dict(tx.execute("SELECT path, sha256 FROM files ORDER BY path"))
            for name in known:
                _link(folder / "files" / name, staging / "files" / name)
            source = stack.enter_context(contextlib.closing(sqlite3.connect(folder / DATABASE)))
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM settings").fetchone()  # holds this state from here on
        with contextlib.closing(sqlite3.connect(staging / DATABASE)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        for name in SECRETS:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(folder / name, staging / name)
        yield staging, known


def _link(source: Path, target: Path) -> None:
    """Hold on to a file's content: files are replaced, never written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # named as damaged later
        try:
            os.link(source, target, follow_symlinks=False)
        except PermissionError:  # a file system without links
            shutil.copyfile(source, target)


def _write(staging: Path, known: dict[str, str], output: BinaryIO) -> list[str]:
    """Write the archive, and return the names of damaged files."""
    damaged = []
    contents: dict[str, dict[str, object]] = {}
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in (DATABASE, *SECRETS, *(f"files/{each}" for each in known)):
            try:
                with (staging / name).open("rb") as file:
                    reader = Hashing(file)
                    info = tar.gettarinfo(arcname=name, fileobj=file)
                    info.type, info.mode = tarfile.REGTYPE, 0o600  # links to one file are files of their own
                    info.size = os.fstat(file.fileno()).st_size
                    info.uid = info.gid = 0
                    info.uname = info.gname = ""
                    tar.addfile(info, reader)
            except FileNotFoundError:
                damaged += [name] if name.startswith("files/") else []
                continue
            contents[name] = {"size": info.size, "sha256": reader.sha256}
            if name.startswith("files/") and known[name.removeprefix("files/")] != reader.sha256:
                damaged.append(name)
        manifest = {
            "format": FORMAT,
            "created": clock.now(),
            "version": __version__,
            "schema": len(schema.steps()),
            "contents": contents,
        }
        text = json.dumps(manifest, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        tar.addfile(info, io.BytesIO(text))
    return [name.removeprefix("files/") for name in damaged]


class Hashing:
    """A file that is hashed while it is read.

    Args:
        file: open for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hash of what was read so far."""
        return self._hash.hexdigest()

    def read(self, size: int = limits.DOWNLOAD_CHUNK_BYTES) -> bytes:
        """Return the next bytes."""
        chunk = self._file.read(size)
        self._hash.update(chunk)
        return chunk
