"""Putting a training together: data, tokenizers, model, optimiser and checkpoints of a run folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from stepwise_core.config import Config
from stepwise_core.data.batches import BatchPlan, EncodedSplit, encode_split
from stepwise_core.data.dataset import SPLITS, Dataset, load_dataset
from stepwise_core.data.tokenizers import TokenizerPair, build_tokenizers
from stepwise_core.errors import DataError
from stepwise_core.models import Transformer, build_model
from stepwise_core.runs import RunFolder
from stepwise_core.training.checkpoints import (
    CheckpointStore,
    check_identity,
    load_optimizer,
    load_weights,
    read_checkpoint,
)
from stepwise_core.training.device import prepare_torch
from stepwise_core.training.optimizer import build_optimizer
from stepwise_core.training.randomness import seed_torch, stream_seed
from stepwise_core.training.state import Identity, TrainingState


@dataclass
class Session:
    """All parts of a training, ready to run.

    Attributes:
        config: the configuration.
        folder: the run folder.
        dataset: examples as text.
        tokenizers: of source and target.
        train: encoded training split.
        valid: encoded validation split.
        plan: which examples make up which batch.
        model: uncompiled.
        optimizer: AdamW over its parameters.
        store: checkpoints.
        state: where training stands.
        device: where it computes.
    """

    config: Config
    folder: RunFolder
    dataset: Dataset
    tokenizers: TokenizerPair
    train: EncodedSplit
    valid: EncodedSplit
    plan: BatchPlan
    model: Transformer
    optimizer: torch.optim.AdamW
    store: CheckpointStore
    state: TrainingState
    device: torch.device

    @property
    def identity(self) -> Identity:
        """What this session's checkpoints belong to."""
        return Identity(
            self.config.model.model_dump(mode="json"),
            self.tokenizers.source.fingerprint,
            self.tokenizers.target.fingerprint,
            self.dataset.version,
        )


def start_session(config: Config, folder: RunFolder) -> Session:
    """Prepare a new training: build tokenizers from the training split and save them with the run.

    Raises:
        StepwiseError: if the data or the configuration cannot be used.
    """
    dataset = load_dataset(config.data)
    tokenizers = build_tokenizers(config.tokenizer, dataset)
    folder.tokenizer.mkdir(exist_ok=True)
    tokenizers.save(folder.tokenizer)
    return _assemble(config, folder, dataset, tokenizers)


def resume_session(config: Config, folder: RunFolder, checkpoint: str = "latest") -> Session:
    """Continue a training from a checkpoint, exactly where it stood; a run that has none yet starts.

    Raises:
        CheckpointError: if the checkpoint is missing or damaged, or belongs to another model or vocabulary.
        DataError: if the data changed since.
    """
    path = folder.checkpoints / checkpoint
    if not any(folder.checkpoints.glob("[!.]*")):
        return start_session(config, folder)
    loaded = read_checkpoint(path)
    tokenizers = TokenizerPair.load(folder.tokenizer)
    check_identity(config, tokenizers, loaded.identity, path)
    dataset = load_dataset(config.data)
    if dataset.version != loaded.identity.data_version:
        raise DataError(
            f"the data changed: version {loaded.identity.data_version} at {path}, now {dataset.version}",
            hint="put the old data back, or train a new run",
        )
    session = _assemble(config, folder, dataset, tokenizers)
    load_weights(session.model, loaded.weights, path)
    load_optimizer(session.model, session.optimizer, loaded.optimizer)
    session.state = loaded.state
    return session


def _assemble(config: Config, folder: RunFolder, dataset: Dataset, tokenizers: TokenizerPair) -> Session:
    training = config.training
    device = prepare_torch(training)
    encoded = {  # the test split too: a sentence that cannot be scored is found now, not after the training
        split: encode_split(
            dataset.split(split),
            tokenizers,
            max_length=config.model.max_length,
            origin=_origin(config, split),
            skip_long=config.data.parallel.skip_long and split != "test",
        )
        for split in SPLITS
    }
    plan = BatchPlan(
        encoded["train"],
        batch_size=training.batch_size,
        batch_by=training.batch_by,
        seed=stream_seed(training.seed, "data order"),
    )
    seed_torch(training.seed, "initial weights")
    model = build_model(config.model, tokenizers.source.vocab_size, tokenizers.target.vocab_size).to(device)
    return Session(
        config=config,
        folder=folder,
        dataset=dataset,
        tokenizers=tokenizers,
        train=encoded["train"],
        valid=encoded["valid"],
        plan=plan,
        model=model,
        optimizer=build_optimizer(model, training, device),
        store=CheckpointStore(folder.checkpoints, keep_best=training.keep_best, keep_last=training.keep_last),
        state=TrainingState(),
        device=device,
    )


def _origin(config: Config, split: str) -> str:
    """Name a split for error messages: its source file, or what made it."""
    path = getattr(config.data.parallel, f"{split}_source")
    return str(Path(path)) if config.data.name == "parallel" and path else f"{config.data.name} ({split})"
