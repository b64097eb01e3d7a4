"""The run folder: everything about a run is in it, and a copy of the folder is a copy of the run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from stepwise_core.config import Config, ResolvedConfig, load_config
from stepwise_core.errors import CheckpointError, RunError
from stepwise_core.files import write_atomic

if TYPE_CHECKING:
    from stepwise_core.data.tokenizers import TokenizerPair
    from stepwise_core.models.transformer import Transformer
    from stepwise_core.training.state import Identity, TrainingState

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
        lock = FileLock(self.path / "run.lock", timeout=0)
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


@dataclass(frozen=True)
class LoadedRun:
    """A trained model with all that is needed to use it.

    Attributes:
        folder: the run.
        config: its configuration.
        model: in evaluation mode.
        tokenizers: of source and target.
        state: where its training stood at the checkpoint.
        checkpoint: folder of the checkpoint.
    """

    folder: RunFolder
    config: Config
    model: "Transformer"
    tokenizers: "TokenizerPair"
    state: "TrainingState"
    checkpoint: Path


def load_run(path: Path, checkpoint: str | None = None, device: str = "auto") -> LoadedRun:
    """Load a run's model.

    Args:
        path: the run folder.
        checkpoint: name in its checkpoints/: `best`, `latest`, `averaged`, `step-00000200`; None takes
            averaged if there is one, else best, else latest.
        device: auto, cpu, cuda, ….

    Raises:
        RunError: if there is no run.
        CheckpointError: if the checkpoint is missing, damaged, or of another model or other tokenizers.
    """
    from stepwise_core.data.tokenizers import TokenizerPair
    from stepwise_core.models import build_model
    from stepwise_core.training.checkpoints import load_weights, read_checkpoint
    from stepwise_core.training.device import choose_device

    folder = RunFolder(path)
    if not folder.config_file.is_file():
        raise RunError(f"{path} is not a run folder: it has no config.json", hint="stepwise runs list")
    config = folder.config()
    place = _checkpoint_path(folder, checkpoint)
    chosen = choose_device(device)
    loaded = read_checkpoint(place, chosen)
    tokenizers = TokenizerPair.load(folder.tokenizer)
    check_identity(config, tokenizers, loaded.identity, place)
    model = build_model(config.model, tokenizers.source.vocab_size, tokenizers.target.vocab_size).to(chosen)
    load_weights(model, loaded.weights, place)
    return LoadedRun(folder, config, model.eval(), tokenizers, loaded.state, loaded.path)


def check_identity(
    config: Config, tokenizers: "TokenizerPair", identity: "Identity", checkpoint: Path
) -> None:
    """Refuse a model or tokenizers other than those a checkpoint was trained with.

    Weights may fit by their shapes and still mean something else: with another number of heads, for example.

    Raises:
        CheckpointError: if a setting of the model or a fingerprint differs.
    """
    settings = config.model.model_dump(mode="json")
    for key, value in identity.model.items():
        if key in settings and settings[key] != value:
            raise CheckpointError(
                f"{checkpoint} was trained with model.{key} = {value}, but the configuration says {settings[key]}",
                hint="put the run's own config.json back, or train a new run",
            )
    for side, have, want in (
        ("source", tokenizers.source.fingerprint, identity.source_vocabulary),
        ("target", tokenizers.target.fingerprint, identity.target_vocabulary),
    ):
        if have != want:
            raise CheckpointError(
                f"vocabulary mismatch: {side} tokenizer {have}, but {checkpoint} was trained with {want}",
                hint="put the run's own tokenizer/ folder back, or train a new run",
            )


def _checkpoint_path(folder: RunFolder, name: str | None) -> Path:
    for candidate in (name,) if name else ("averaged", "best", "latest"):
        path = folder.checkpoints / candidate
        if path.is_dir():
            return path
    there = ", ".join(sorted(path.name for path in folder.checkpoints.glob("[!.]*"))) or "none"
    raise CheckpointError(
        f"run {folder.name} has no checkpoint {name or 'yet'}; there: {there}",
        hint=f"stepwise resume {folder.name}   (trains it)",
    )
