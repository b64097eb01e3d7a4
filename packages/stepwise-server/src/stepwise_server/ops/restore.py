"""A backup becomes a data folder again: checked as a whole first, then put in place at once."""

import contextlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stepwise_server import limits
from stepwise_server.errors import ApiError, ServerError
from stepwise_server.files import names
from stepwise_server.installation import DATABASE
from stepwise_server.ops.backup import FORMAT, MANIFEST, SECRETS, Hashing
from stepwise_server.ops.folder import LOCK, locked
from stepwise_server.store import schema


@dataclass(frozen=True)
class Restored:
    """What was put in place.

    Attributes:
        folder: the data folder.
        created: when the backup was made, ISO.
        files: how many uploaded files it has.
        before: where the former content of the folder is now; None if there was none.
    """

    folder: Path
    created: str
    files: int
    before: Path | None


def restore(archive: Path, folder: Path) -> Restored:
    """Put a backup in place of a data folder, whose former content is kept beside it.

    Args:
        archive: from `backup`.
        folder: the data folder; no server may have it.

    Raises:
        ServerError: if the archive is damaged, of a newer version, or the folder is in use. Nothing is changed then.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            locked(folder),
            tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place,
        ):
            staging = Path(place) / "restored"
            staging.mkdir(mode=0o700)
            manifest = _unpack(archive, staging)
            _check_database(staging / DATABASE, manifest)
            before = _swap(staging, folder)
    except OSError as error:
        message = f"{archive} could not be restored to {folder}: {error.strerror or error}"
        raise ServerError(message, hint="restore to another folder, with --folder") from None
    count = sum(name.startswith("files/") for name in manifest["contents"])
    return Restored(folder, str(manifest.get("created", "")), count, before)


def _unpack(archive: Path, staging: Path) -> dict[str, Any]:
    """Write the content of an archive below a folder, checked against its manifest, which is returned."""
    try:
        with tarfile.open(archive, "r:") as tar:
            manifest = _manifest(tar)
            for name, expected in manifest["contents"].items():
                _unpack_one(tar, _allowed(name), staging, expected)
            return manifest
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError, ApiError) as error:
        message = f"{archive} is damaged or no backup: {error}"
        raise ServerError(message, hint="choose another backup", exit_code=6) from None


def _manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    content = tar.extractfile(MANIFEST)
    if content is None:
        raise ValueError("no manifest")
    manifest: dict[str, Any] = json.load(content)
    if manifest["format"] > FORMAT:
        message = f"the backup has form {manifest['format']}; this version of stepwise-server knows {FORMAT}"
        raise ServerError(message, hint="pip install --upgrade stepwise-server", exit_code=6)
    schema.require_known(int(manifest["schema"]), len(schema.steps()))
    if DATABASE not in manifest["contents"]:
        raise ValueError("no database")
    return manifest


def _allowed(name: str) -> str:
    """Return the name of a member, if backups have such."""
    if name in (DATABASE, *SECRETS) or (
        name.startswith("files/") and names.clean(name[6:]) == name.removeprefix("files/")
    ):
        return name
    raise ValueError(f"it has a file {name!r}")


def _unpack_one(tar: tarfile.TarFile, name: str, staging: Path, expected: dict[str, Any]) -> None:
    content = tar.extractfile(name)
    if content is None:
        raise ValueError(f"{name} is no file")
    place = staging / name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader = Hashing(content)  # type: ignore[arg-type]
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        shutil.copyfileobj(reader, output, limits.DOWNLOAD_CHUNK_BYTES)
        output.flush()
        os.fsync(output.fileno())
    if reader.sha256 != expected["sha256"]:
        raise ValueError(f"{name} has another checksum than was written down")


def _check_database(file: Path, manifest: dict[str, Any]) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            answer = str(error)
    if answer != "ok" or version != manifest["schema"]:
        message = f"the database in the backup is damaged: {answer}"
        raise ServerError(message, hint="choose another backup", exit_code=6)


def _swap(staging: Path, folder: Path) -> Path | None:
    """Exchange two folders by renaming; return where the former content is."""
    if {each.name for each in folder.iterdir()} <= {LOCK}:
        (folder / LOCK).rename(staging / LOCK)  # still held: nobody can slip in
        os.rename(staging, folder)  # over an empty folder
        return None
    before = folder.with_name(f"{folder.name}-before-{datetime.now():%Y%m%d-%H%M%S}")
    os.rename(folder, before)
    try:
        os.rename(staging, folder)
    except OSError:
        os.rename(before, folder)
        raise
    return before
