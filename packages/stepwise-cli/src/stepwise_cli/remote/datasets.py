"""Versions of data on a ClearML server: each is a `Dataset` of the SDK that also holds our manifest.

The local store is what data is read from; a server is where versions come from and go to.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stepwise_cli.remote.connection import connected, server_is_known
from stepwise_core.config import DataConfig
from stepwise_core.data.store import DataStore, Version, choose, read_manifest
from stepwise_core.data.versions import dataset_name, is_here
from stepwise_core.errors import DataError

MANIFEST = "stepwise-version.json"
"""The manifest among the files of a ClearML dataset."""

TAG = "stepwise-data-"
"""Tag by which a version is found on the server: this and its hash."""


@dataclass(frozen=True)
class ServerVersion:
    """A version on a server.

    Attributes:
        id: of its ClearML dataset.
        name: of the dataset.
        number: such as 1.0.2.
        hash: `Dataset.version`, the hash of the texts.
        created: when, ISO 8601.
    """

    id: str
    name: str
    number: str
    hash: str
    created: str


def server_versions() -> list[ServerVersion]:
    """Return the versions on the server, those that were pushed by us and are whole.

    Raises:
        TrackError: if the server does not answer, or refuses.
    """
    with connected() as server:
        tasks = server.call(
            "tasks.get_all",
            system_tags=["dataset"],
            status=["completed", "published", "closed"],  # one that was stopped is not whole
            only_fields=["id", "name", "tags", "runtime.version", "created"],
            search_hidden=True,
        )["tasks"]
    return sorted(filter(None, map(_server_version, tasks)), key=lambda each: (each.name, each.created))


def _server_version(task: dict[str, Any]) -> ServerVersion | None:
    hashes = [tag.removeprefix(TAG) for tag in task.get("tags") or [] if tag.startswith(TAG)]
    number = (task.get("runtime") or {}).get("version")
    if not hashes or not number:
        return None
    return ServerVersion(task["id"], task["name"], str(number), hashes[0], str(task.get("created", "")))


def push_to_server(version: Version, project: str) -> bool:
    """Send a version of the local store to the server; return False if it was there.

    Raises:
        TrackError: if the server does not answer, or refuses.
        DataError: if another version has its number there.
    """
    there = [each for each in server_versions() if each.name == version.name]
    if any(each.hash == version.hash for each in there):
        return False
    if any(each.number == version.number for each in there):
        raise DataError(
            f"{version.name} {version.number} is another version on the server",
            hint="pull that one first, or give --number",
        )
    from stepwise_track.backends.clearml.datasets import upload_dataset

    with TemporaryDirectory(prefix="stepwise-data-") as temporary:
        folder = Path(temporary) / "files"
        DataStore().checkout(version, folder)
        (folder / MANIFEST).write_text(version.model_dump_json(indent=2), encoding="utf-8")
        upload_dataset(folder, project, version.name, version.number, [TAG + version.hash])
    return True


def pull(wanted: str, name: str | None = None) -> Version:
    """Get a version into the local store, unless it is there, and return it.

    Args:
        wanted: hash or number.
        name: of the dataset; a number alone may be that of several.

    Raises:
        DataError: if there is no such version, or its files are not what its manifest says.
        TrackError: if the server does not answer, or refuses.
    """
    store = DataStore()
    if found := store.find(wanted, name):
        return found
    candidates = (
        [each for each in server_versions() if name in (None, each.name)] if server_is_known() else []
    )
    version = choose(candidates, wanted)
    if version is None:
        where = (
            "neither here nor on the ClearML server"
            if server_is_known()
            else f"not in the store {store.folder}"
        )
        raise DataError(
            f"version {wanted}{f' of {name}' if name else ''} is {where}",
            hint="stepwise data versions   (what there is), or stepwise data push where the data is",
        )
    from stepwise_track.backends.clearml.datasets import download_dataset

    with TemporaryDirectory(prefix="stepwise-data-") as temporary:
        folder = Path(temporary) / "files"
        download_dataset(version.id, folder)
        manifest = read_manifest(folder / MANIFEST)
        if manifest.hash != version.hash:
            raise DataError(
                f"{version.name} {wanted}: its manifest is of {manifest.hash}", hint="push it again"
            )
        store.add(manifest, folder)
    return manifest


def fetch_data(config: DataConfig) -> None:
    """Get the version of data that a configuration asks for into the local store, if it takes that to load it.

    Raises:
        DataError: if there is no such version.
        TrackError: if the server does not answer, or refuses.
    """
    if config.version is not None and not is_here(config):
        by_number = "." in config.version
        pull(config.version, dataset_name(config) if by_number else None)
