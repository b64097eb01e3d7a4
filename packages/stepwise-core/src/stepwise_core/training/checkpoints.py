"""Checkpoints: safetensors and JSON (no pickle), written atomically, with a checksum of every file.

A checkpoint is a folder `step-00000200/` of `model.safetensors`, `optimizer.safetensors`, `state.json` and
`manifest.json`. Beside it the links `best` and `latest` point at the checkpoints of those names.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stepwise_core.config import Config
from stepwise_core.data.tokenizers import TokenizerPair
from stepwise_core.errors import CheckpointError
from stepwise_core.files import folder_written_atomically, replace_link, sha256_of
from stepwise_core.training.state import Identity, TrainingState

FORMAT = 1
AVERAGED = "averaged"
MODEL, OPTIMIZER, STATE, MANIFEST = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, its checksums verified.

    Attributes:
        path: its folder.
        weights: {parameter name: tensor}; tied weights once.
        optimizer: {"parameter name/exp_avg": tensor}, empty for averaged weights.
        state: where training stood.
        identity: what it belongs to.
    """

    path: Path
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: TrainingState
    identity: Identity


def write_checkpoint(
    path: Path,
    weights: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    state: TrainingState,
    identity: Identity,
) -> None:
    """Write a checkpoint folder completely, or not at all.

    Raises:
        CheckpointError: if it cannot be written (disk full, no permission); earlier checkpoints are untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_written_atomically(path) as folder:
            save_file(weights, folder / MODEL)
            save_file(optimizer, folder / OPTIMIZER)
            record = {"format": FORMAT, "state": state.to_dict(), "identity": asdict(identity)}
            (folder / STATE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            digests = {name: sha256_of(folder / name) for name in (MODEL, OPTIMIZER, STATE)}
            (folder / MANIFEST).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(
            f"cannot write checkpoint {path}: {reason}; earlier checkpoints are intact",
            hint="make room or give permission there, then `stepwise resume`",
        ) from error


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and verify its checksums.

    Raises:
        CheckpointError: if it is missing, truncated, altered, or of a newer format.
    """
    try:
        digests: dict[str, str] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in (MODEL, OPTIMIZER, STATE):
            if sha256_of(path / name) != digests.get(name):
                raise CheckpointError(
                    f"{path / name} is truncated or altered: its checksum does not match", hint=_OTHER
                )
        record: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
        if record["format"] > FORMAT:
            raise CheckpointError(
                f"checkpoint {path} has format {record['format']}; this version reads up to {FORMAT}",
                hint="install a newer stepwise",
            )
        weights, optimizer = (load_file(path / name, device=str(device)) for name in (MODEL, OPTIMIZER))
        state, identity = TrainingState.from_dict(record["state"]), Identity(**record["identity"])
    except FileNotFoundError as error:
        raise CheckpointError(
            f"no complete checkpoint at {path}: {Path(error.filename).name} is missing", hint=_OTHER
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} is unreadable: {error}", hint=_OTHER) from error
    return Checkpoint(path.resolve(), weights, optimizer, state, identity)


_OTHER = "ls the run's checkpoints/ and name another one with --checkpoint"


class CheckpointStore:
    """The checkpoints of one run: which to keep, which is best, which is latest.

    Args:
        folder: `checkpoints/` of the run.
        keep_best: how many of the lowest validation losses to keep.
        keep_last: how many of the newest to keep.
    """

    def __init__(self, folder: Path, *, keep_best: int = 1, keep_last: int = 1) -> None:
        self.folder = folder
        self.keep_best = keep_best
        self.keep_last = keep_last

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: TrainingState,
        identity: Identity,
        *,
        best: bool,
    ) -> Path:
        """Write the checkpoint of this step, move the links, and remove what is no longer to be kept.

        Only one process at a time may save; `RunFolder.locked` sees to that.

        Raises:
            CheckpointError: if it cannot be written.
        """
        path = self.folder / f"step-{state.step:08d}"
        write_checkpoint(path, model_tensors(model), optimizer_tensors(model, optimizer), state, identity)
        replace_link(self.folder / "latest", path.name)
        if best:
            replace_link(self.folder / "best", path.name)
        self._remove_old()
        return path

    def kept(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        return sorted(self.folder.glob("step-????????"))

    def _remove_old(self) -> None:
        paths = self.kept()
        losses = {path: _validation_loss(path) for path in paths}
        scored = sorted(
            (path for path in paths if losses[path] is not None), key=lambda path: losses[path] or 0.0
        )
        keep = {*paths[-self.keep_last :], *scored[: self.keep_best]}
        keep |= {(self.folder / link).resolve() for link in ("best", "latest")}
        for path in paths:
            if path not in keep and path.resolve() not in keep:
                shutil.rmtree(path)
        shutil.rmtree(
            self.folder / AVERAGED, ignore_errors=True
        )  # of an earlier end: `load_run` would prefer it
        for leftover in self.folder.glob(".*"):  # of a process that was killed while it wrote
            if leftover.is_symlink():
                leftover.unlink()
            else:
                shutil.rmtree(leftover)


def read_state(path: Path) -> TrainingState | None:
    """Return where training stood at a checkpoint, without its weights; None if it cannot be read."""
    try:
        return TrainingState.from_dict(json.loads((path / STATE).read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _validation_loss(path: Path) -> float | None:
    """Return the validation loss measured at exactly this checkpoint, or None if it is of another step."""
    state = read_state(path)
    return state.last_validation_loss if state and state.validated_at == state.step else None


def check_identity(config: Config, tokenizers: TokenizerPair, identity: Identity, checkpoint: Path) -> None:
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


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return {name: weight} of an uncompiled model; tied weights appear once, positions tables not at all."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a model.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown, or of another shape.
    """
    own = dict(model.named_parameters())
    for name in [*own, *weights]:
        have, want = weights.get(name), own.get(name)
        if have is None or want is None or have.shape != want.shape:
            shapes = [tuple(tensor.shape) if tensor is not None else "nothing" for tensor in (have, want)]
            raise CheckpointError(
                f"{path} does not fit the model: {name} is {shapes[0]}, the model has {shapes[1]}"
            )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors under names that say whose they are: `weight name/exp_avg`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value.detach()
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned; the model's weights are already loaded."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, field = key.rpartition("/")
        by_name.setdefault(name, {})[field] = value
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    state = {index: by_name[name] for index, name in enumerate(ordered) if name in by_name}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def average_checkpoints(paths: list[Path], target: Path) -> None:
    """Write the mean of the weights of several checkpoints as a checkpoint of its own (paper, section 6.1).

    Raises:
        CheckpointError: if one cannot be read, or the target cannot be written.
    """
    checkpoints = [read_checkpoint(path) for path in paths]
    newest = checkpoints[-1]
    mean = {
        name: torch.stack([checkpoint.weights[name].double() for checkpoint in checkpoints])
        .mean(0)
        .to(weight.dtype)
        for name, weight in newest.weights.items()
    }
    write_checkpoint(target, mean, {}, newest.state, newest.identity)
