"""A trained model of a run folder, loaded with all that is needed to use it."""

from dataclasses import dataclass
from pathlib import Path

from stepwise_core.config import Config
from stepwise_core.data.tokenizers import TokenizerPair
from stepwise_core.errors import CheckpointError, RunError
from stepwise_core.models import Transformer, build_model
from stepwise_core.runs import RunFolder
from stepwise_core.training.checkpoints import check_identity, load_weights, read_checkpoint
from stepwise_core.training.device import choose_device
from stepwise_core.training.state import TrainingState


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
    model: Transformer
    tokenizers: TokenizerPair
    state: TrainingState
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
