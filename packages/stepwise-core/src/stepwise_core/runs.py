"""The run folder: everything about a run is in it, and a copy of the folder is a copy of the run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from stepwise_core.config import Config, ResolvedConfig, load_config
from stepwise_core.errors import RunError
from stepwise_core.files import write_atomic

_SAFE_NAME = re.compile(r"[\w][\w.+=,@-]{0,199}")


@dataclass(frozen=True)
class RunFolder:
    """Where things of a run are.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.resolve().name

    @property
    def config_file(self) -> Path:
        """The resolved configuration, with where each value came from."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, with the links `best` and `latest`."""
        return self.path / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizers."""
        return self.path / "tokenizer"

    @property
    def pictures(self) -> Path:
        """Folder of pictures."""
        return self.path / "pictures"

    @property
    def samples(self) -> Path:
        """Folder of translated validation sentences, a file per validation."""
        return self.path / "samples"

    @property
    def evaluation_file(self) -> Path:
        """Scores and examples of the latest evaluation."""
        return self.path / "evaluation.json"

    def config(self) -> Config:
        """Read the run's configuration.

        Raises:
            ConfigError: if it is missing or unusable.
        """
        return load_config(self.config_file, environ={}).config

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing.

        Raises:
            RunError: if another process holds it, or the folder cannot be written.
        """
        lock = FileLock(
            self.path / "run.lock", timeout=1
        )  # a killed holder may leave it to a child for a moment
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"run {self.name} is in use by another process",
                hint="wait for it, or start another run with --run-name",
            ) from None
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()


def default_run_name(config: Config, now: datetime | None = None) -> str:
    """Return `{model_type}_{dataset}_{timestamp}`, e.g. transformer_dates_20261121-093000."""
    return f"{config.model.type}_{config.data.name}_{(now or datetime.now()):%Y%m%d-%H%M%S}"


def create_run(runs_dir: Path, name: str | None, resolved: ResolvedConfig) -> RunFolder:
    """Make the folder of a new run, with its `config.json`.

    Args:
        runs_dir: folder of all runs; made if needed.
        name: name of the run; None = the configured experiment_name, or the default name, made unique.
        resolved: the run's configuration.

    Raises:
        RunError: if the name is taken or unsafe, or the folder cannot be made.
    """
    config = resolved.config
    chosen = name or config.logging.experiment_name or default_run_name(config)
    if not _SAFE_NAME.fullmatch(chosen):
        raise RunError(f"run name {chosen!r} cannot be a folder name; use letters, digits and . _ - + = , @")
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        path = _make_folder(runs_dir, chosen, unique=not (name or config.logging.experiment_name))
        write_atomic(path / "config.json", resolved.to_json())
    except OSError as error:
        raise RunError(
            f"cannot make run {chosen} in {runs_dir}: {error.strerror}",
            hint="choose another folder with --runs-dir",
        ) from None
    return RunFolder(path)


def _make_folder(runs_dir: Path, name: str, *, unique: bool) -> Path:
    """Make a new folder; `unique` adds a number where the name is taken: two runs may start in the same second."""
    for suffix in ("", *(f"-{number}" for number in range(2, 100) if unique)):
        path = runs_dir / f"{name}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise RunError(
        f"run {name} exists already in {runs_dir}",
        hint=f"stepwise resume {name}   (or choose another --run-name)",
    )
