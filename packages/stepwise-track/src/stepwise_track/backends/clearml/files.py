"""Files on their way to a ClearML file server: artifacts, pictures, models."""

import hashlib
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from clearml.storage import StorageManager

from stepwise_track.backends.clearml.connection import Connection
from stepwise_track.backends.protocol import Delivery, RunContext, Unreachable
from stepwise_track.events import Artifact, Checkpoint, FileRef

SAFE = "'[]{}()$^,.; -_+=/"
"""Characters that the SDK leaves as they are in the folders of a task."""


class Uploader:
    """Uploads files of one task; a repeat overwrites the same file.

    Args:
        connection: to the server.
        run: the run whose files they are.
        task_id: the task.
        output: where files go: a URL that the SDK's storage knows; the server's file server unless given.
    """

    def __init__(self, connection: Connection, run: RunContext, task_id: str, output: str | None) -> None:
        self._connection, self._run, self._task = connection, run, task_id
        folders = f"{run.started.project_name}/{run.started.experiment_name}.{task_id}"
        self._base = f"{(output or connection.files_host).rstrip('/')}/{quote(folders, safe=SAFE)}"

    def upload(self, path: Path, place: str) -> str:
        """Upload a file below the task's folder, and return its URL.

        Raises:
            Unreachable: if the storage does not take it now.
        """
        self._run.progress()
        try:
            url = StorageManager.upload_file(
                str(path), f"{self._base}/{place}", wait_for_upload=True, retries=1
            )
        except Exception as error:  # each kind of storage has errors of its own
            raise Unreachable(f"cannot upload {path.name}: {error}") from None
        finally:
            self._run.progress()
        if not url:
            raise Unreachable(f"cannot upload {path.name} to {self._base}")
        return str(url)

    def picture(self, record: Delivery, file: FileRef, name: str) -> str | None:
        """Upload a picture; None if it is gone."""
        path = self._find(record, file)
        if path is None:
            return None
        safe = "".join(each if each.isalnum() or each in "-_." else "_" for each in name)
        return self.upload(path, f"metrics/{safe}/{record.seq:08}{path.suffix}")

    def artifact(self, record: Delivery, event: Artifact) -> dict[str, Any] | None:
        """Upload an artifact, several files as a zip; return its entry for the task, or None if files are gone."""
        package = self._package(record, event.files, event.name)
        if package is None:
            return None
        with package as file:
            url = self.upload(file.path, f"artifacts/{quote(event.name, safe=SAFE)}/{file.name}")
            preview = "\n".join(f"{each.path} ({each.size} bytes)" for each in event.files)
            return {
                "key": event.name,
                "type": "archive" if len(event.files) > 1 else file.path.suffix.lstrip(".") or "file",
                "mode": "output",
                "uri": url,
                "hash": file.sha256,
                "content_size": file.path.stat().st_size,
                "timestamp": int(record.time),
                "type_data": {"preview": preview[:4096]},
                "display_data": [[key, str(value)] for key, value in (event.metadata or {}).items()],
            }

    def weights(self, record: Delivery, event: Artifact | Checkpoint) -> str | None:
        """Upload the files of a model or checkpoint, several as a zip; None if they are gone."""
        name = event.name if isinstance(event, Artifact) else f"checkpoint-{event.step:08}"
        package = self._package(record, event.files, name)
        if package is None:
            return None
        with package as file:
            return self.upload(file.path, f"models/{file.name}")

    def _find(self, record: Delivery, file: FileRef) -> Path | None:
        path = self._run.find(file)
        if path is None:
            self._run.degrade(record.event.kind, "a file was replaced or removed before it could be sent")
        return path

    def _package(self, record: Delivery, files: tuple[FileRef, ...], name: str) -> "Package | None":
        found = [self._find(record, file) for file in files]
        paths = [path for path in found if path is not None]
        return Package(paths, name) if paths and len(paths) == len(files) else None


class Package:
    """One file to upload: the file itself, or a zip of several; a context manager that removes the zip."""

    path: Path

    def __init__(self, paths: list[Path], name: str) -> None:
        self._paths = paths
        stem = "".join(each if each.isalnum() or each in "-_." else "_" for each in name)
        self.name = paths[0].name if len(paths) == 1 else f"{stem}.zip"
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Package":
        if len(self._paths) == 1:
            self.path = self._paths[0]
            return self
        self._folder = TemporaryDirectory(prefix="stepwise-upload-")
        self.path = Path(self._folder.name) / self.name
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED) as archive:
            for path in self._paths:
                archive.write(path, path.name)
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            self._folder.cleanup()

    @property
    def sha256(self) -> str:
        """Hash of what is uploaded."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
