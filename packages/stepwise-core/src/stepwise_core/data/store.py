"""A store of versions of data in a folder: each content once, by its SHA-256; each version a manifest in JSON.

    objects/3f/3fa9…            a file, named by its content
    versions/<name>/<hash>.json a manifest: which files make up a version
    incoming/                   what is being written

A manifest comes after the files that it names, and both appear whole: a push that is killed leaves no version.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Protocol, TypeVar
from urllib.parse import quote

from filelock import FileLock
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepwise_core.errors import DataError
from stepwise_core.files import umask, write_atomic

NUMBER = r"\d+\.\d+\.\d+"
"""What the number of a version looks like: 1.0.2."""

COPY_BYTES = 2**20
"""Size of the pieces in which files are copied."""


def _checked_path(path: str) -> str:
    """Accept the path of a file below a folder; manifests come from elsewhere too.

    Raises:
        ValueError: if it leads out of the folder, or is not the same on every system.
    """
    parts = PurePosixPath(path).parts
    if (
        not parts
        or "/".join(parts) != path
        or ".." in parts
        or not path.isprintable()
        or set('\\:*?"<>|') & set(path)
    ):
        raise ValueError(f"{path!r} is no path of a file below a folder")
    return path


def _checked_name(name: str) -> str:
    if name in ("", ".", "..") or not name.isprintable() or len(name) > 200:
        raise ValueError(f"{name!r} is no name of a dataset")
    return name


SafePath = Annotated[str, AfterValidator(_checked_path)]


class StoredFile(BaseModel):
    """A file of a version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of its content."""
    size: Annotated[int, Field(ge=0)]
    """Length in bytes."""


class Version(BaseModel):
    """A version of a dataset: its manifest."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(_checked_name)]
    """Name of the dataset."""
    number: Annotated[str, Field(pattern=f"^{NUMBER}$")]
    """What people call it: 1.0.2."""
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """What it is: `Dataset.version`, the hash of the texts."""
    created: str
    """When it was pushed, ISO 8601 in UTC."""
    files: dict[SafePath, StoredFile]
    """Its files, by their paths below a folder."""
    roles: dict[str, SafePath] = {}
    """Which file is which: {"train_source": "train.en.gz", …}."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Version":
        folders = {str(parent) for path in self.files for parent in PurePosixPath(path).parents}
        if clash := folders & set(self.files):
            raise ValueError(f"{min(clash)!r} is a file and a folder")
        if unknown := set(self.roles.values()) - set(self.files):
            raise ValueError(f"{min(unknown)!r} is not among the files")
        return self

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files.values())

    @property
    def order(self) -> tuple[str, tuple[int, ...]]:
        """What versions are sorted by: 1.0.10 comes after 1.0.9."""
        return self.name, tuple(map(int, self.number.split(".")))


def read_manifest(path: Path) -> Version:
    """Read a manifest.

    Raises:
        DataError: if it is missing, or none that can be trusted.
    """
    try:
        return Version.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint="push the version again") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".strip(": ")
        raise DataError(f"{path}: not a manifest of data ({reason})", hint="push the version again") from None


def default_store() -> Path:
    """Return $STEPWISE_DATA_DIR, or the place for a user's data: ~/.local/share/stepwise/data."""
    if named := os.environ.get("STEPWISE_DATA_DIR"):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "stepwise" / "data"


class DataStore:
    """The store in a folder, which is made by the first push.

    Args:
        folder: by default `default_store()`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_store()

    def versions(self, name: str | None = None) -> list[Version]:
        """Return the versions there are, of one dataset or of all, the oldest number first.

        Raises:
            DataError: if a manifest is damaged.
        """
        manifests = (self.folder / "versions").glob(
            "*/*.json" if name is None else f"{_folder_of(name)}/*.json"
        )
        return sorted(map(read_manifest, manifests), key=lambda version: version.order)

    def find(self, version: str, name: str | None = None) -> Version | None:
        """Return the version with a hash or a number; None if it is not here.

        Args:
            version: hash or number.
            name: of the dataset; numbers alone may mean versions of several.

        Raises:
            DataError: if several datasets have a version with this number.
        """
        return choose(self.versions(name if re.fullmatch(NUMBER, version) else None), version)

    def push(
        self,
        name: str,
        content_hash: str,
        files: Mapping[str, Path],
        roles: Mapping[str, str],
        number: str | None = None,
    ) -> Version:
        """Keep files as a version. One that is there already, by name and hash, is returned as it is.

        Args:
            name: of the dataset.
            content_hash: hash of its texts.
            files: {path in the version: file}.
            roles: {role: path in the version}.
            number: of the new version; by default the next one.

        Raises:
            DataError: if the number is taken, or a name cannot be kept.
            OSError: if a file cannot be read, or the store cannot be written.
        """
        try:
            with self._writing() as incoming:
                known = self.versions(name)
                if same := choose(known, content_hash):
                    return same
                if number in {version.number for version in known}:
                    raise DataError(
                        f"{name} {number} is another version already",
                        hint="leave out --number: the next is taken",
                    )
                kept = {_checked_path(path): self._keep(file, incoming) for path, file in files.items()}
                version = Version(
                    name=name, number=number or next_number(known), hash=content_hash,
                    created=datetime.now(UTC).isoformat(timespec="seconds"), files=kept, roles=dict(roles),
                )  # fmt: skip
                self._write(version)
                return version
        except ValueError as error:  # pydantic's is one
            raise DataError(f"cannot keep {name!r}: {error}", hint="rename it") from None

    def add(self, version: Version, folder: Path) -> None:
        """Keep a version that came from elsewhere.

        Args:
            version: its manifest.
            folder: its files.

        Raises:
            DataError: if a file is missing, or not what the manifest says. Nothing is kept then.
        """
        with self._writing() as incoming:
            for path, expected in version.files.items():
                source = folder / path
                if not source.resolve().is_relative_to(folder.resolve()) or not source.is_file():
                    raise DataError(
                        f"{version.name} {version.number}: {path} is missing", hint="push it again"
                    )
                if self._keep(source, incoming) != expected:
                    raise DataError(
                        f"{version.name} {version.number}: {path} was altered: it does not have its SHA-256",
                        hint="push it again",
                    )
            self._write(version)

    def file(self, version: Version, path: str) -> Path:
        """Return where the content of a file of a version is; to be read, not changed."""
        digest = version.files[path].sha256
        return self.folder / "objects" / digest[:2] / digest

    def checkout(self, version: Version, folder: Path) -> None:
        """Write the files of a version into a new folder, which appears whole or not at all.

        Raises:
            DataError: if the folder is there and not empty, or a file in the store is damaged or gone.
            OSError: if it cannot be written.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder} is there already", hint="choose a new folder with --output")
        folder = folder.resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:80]}-"))
        try:
            for path, expected in version.files.items():
                target, source = temporary / path, self.file(version, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if not source.is_file() or _copy(source, target) != expected:
                    raise DataError(
                        f"{source}, which is {path} of {version.name} {version.number}, is damaged or gone",
                        hint="push the version again where its files are",
                    )
            temporary.chmod(0o777 & ~umask())
            temporary.replace(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Have the store for oneself, and an empty folder in it for what is not whole yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "store.lock"):
            incoming = self.folder / "incoming"
            shutil.rmtree(incoming, ignore_errors=True)  # of a push that was killed
            incoming.mkdir()
            try:
                yield incoming
            finally:
                shutil.rmtree(incoming, ignore_errors=True)

    def _keep(self, file: Path, incoming: Path) -> StoredFile:
        """Copy a file among the objects. One with the same content is replaced: it may be damaged."""
        part = incoming / "part"
        kept = _copy(file, part)
        target = self.folder / "objects" / kept.sha256[:2] / kept.sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        return kept

    def _write(self, version: Version) -> None:
        path = self.folder / "versions" / _folder_of(version.name) / f"{version.hash}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, version.model_dump_json(indent=2) + "\n")


class Numbered(Protocol):
    """A version of a dataset, wherever it is kept."""

    @property
    def name(self) -> str:
        """Name of the dataset."""

    @property
    def number(self) -> str:
        """What people call it."""

    @property
    def hash(self) -> str:
        """What it is."""


AnyVersion = TypeVar("AnyVersion", bound=Numbered)


def choose(versions: Iterable[AnyVersion], wanted: str) -> AnyVersion | None:
    """Return the version with a hash or a number, or None.

    Raises:
        DataError: if several datasets have a version with this number.
    """
    found = [version for version in versions if wanted in (version.hash, version.number)]
    if len({version.hash for version in found}) > 1:
        names = ", ".join(sorted({version.name for version in found}))
        raise DataError(f"version {wanted} is one of several datasets: {names}", hint="--name, or its hash")
    return found[0] if found else None


def next_number(versions: list[Version]) -> str:
    """Return the number after the highest of a dataset's versions, from 1.0.0 on."""
    if not versions:
        return "1.0.0"
    first, second, third = max(version.order for version in versions)[1]
    return f"{first}.{second}.{third + 1}"


def _folder_of(name: str) -> str:
    """Return the name of a dataset as that of a folder, whatever is in it."""
    return quote(_checked_name(name), safe=" ")


def _copy(source: Path, target: Path) -> StoredFile:
    """Copy a file to the disk, and return what it holds."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(COPY_BYTES):
            digest.update(piece)
            size += len(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    return StoredFile(sha256=digest.hexdigest(), size=size)
