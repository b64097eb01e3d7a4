"""The training loop: read `Trainer.run` first; every line of it is a method below."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NoReturn

import torch

from stepwise_core.data.batches import Batch, collate
from stepwise_core.data.dataset import Example
from stepwise_core.decoding.translate import translate
from stepwise_core.errors import DivergedError, Interrupted
from stepwise_core.models import count_parameters
from stepwise_core.training.checkpoints import AVERAGED, average_checkpoints
from stepwise_core.training.device import describe_device
from stepwise_core.training.divergence import save_divergence
from stepwise_core.training.interrupts import StopRequest
from stepwise_core.training.meters import (
    gradient_norms_by_block,
    memory_in_use,
    model_flops,
    peak_flops,
    weights_and_gradients,
)
from stepwise_core.training.reports import (
    CheckpointReport,
    Listener,
    RunPlan,
    Sample,
    StepReport,
    ValidationReport,
)
from stepwise_core.training.schedules import learning_rate_at
from stepwise_core.training.session import Session
from stepwise_core.training.step import StopRequested, accumulate_gradients, clip_gradients
from stepwise_core.training.validation import measure_loss


class Trainer:
    """Trains the model of a session and tells listeners about it.

    Args:
        session: everything the training needs.
        listeners: told of steps, validations, checkpoints; they cannot change the training.
        stop: looked at before every micro-batch; true ends the training with a checkpoint.
    """

    def __init__(
        self, session: Session, listeners: Sequence[Listener] = (), stop: StopRequest | None = None
    ) -> None:
        self.session = session
        self.config = session.config
        self.state = session.state
        self.saved_step = session.state.step or None  # above step 0, the session comes from a checkpoint
        self.listeners = listeners
        self.stop = stop or StopRequest()
        self.parameters = count_parameters(session.model)
        self.peak_flops = peak_flops(session.device, self.config.training.precision)
        accumulation = self.config.training.accumulation
        self.batches_per_epoch = len(session.plan.epoch(0))  # the same in every epoch
        self.steps_per_epoch = math.ceil(self.batches_per_epoch / accumulation)
        planned = self.config.training.epochs * self.steps_per_epoch
        self.total_steps = min(planned, self.config.training.max_steps or planned)
        compiled = (
            torch.compile(session.model, dynamic=True) if self.config.training.compile else session.model
        )
        self.forward: Callable[..., torch.Tensor] = compiled

    def run(self) -> None:
        """Train until the plan is done, the loss stops improving, or somebody asks to stop.

        Raises:
            Interrupted: after saving a checkpoint, if somebody asked to stop.
            DivergedError: if the loss or the gradient is not finite; the last good checkpoint stays.
            CheckpointError: if a checkpoint cannot be written; earlier ones stay.
        """
        self._announce()
        self.session.model.train()
        try:
            while not self._is_finished():
                for batches in self._steps_of_epoch():
                    self._step(batches)
                    if self._is_due(self.config.logging.log_validation_every) or self._is_last_step():
                        self._validate(batches)
                    self._save_if_due()
                    if self._is_finished():
                        break
                if self.state.batch >= self.batches_per_epoch:
                    self._end_epoch()
        except StopRequested:
            self._interrupted()
        self._finish()

    def _steps_of_epoch(self) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each step that is left in the epoch in progress."""
        index_lists = self.session.plan.epoch(self.state.epoch)
        while self.state.batch < self.batches_per_epoch:
            group = index_lists[self.state.batch : self.state.batch + self.config.training.accumulation]
            yield [collate(self.session.train, indices) for indices in group]

    def _step(self, batches: list[Batch]) -> None:
        """Do one optimiser step and report it."""
        started = time.perf_counter()
        session, training, step = self.session, self.config.training, self.state.step + 1
        learning_rate = learning_rate_at(
            step, training, d_model=self.config.model.d_model, total_steps=self.total_steps
        )
        session.optimizer.zero_grad(set_to_none=True)
        gradients = accumulate_gradients(
            self.forward, batches, training, session.device, step, should_stop=lambda: self.stop.requested
        )
        detailed = self._is_logged(step)
        norms = (
            gradient_norms_by_block(session.model)
            if detailed and self.config.logging.log_gradient_norms
            else {}
        )
        drawn = weights_and_gradients(session.model) if self._histograms_due(step) else {}
        norm = clip_gradients(session.model, training.gradient_clipping)
        if not (math.isfinite(gradients.loss) and math.isfinite(norm)):
            self._diverged(
                batches, step, loss=gradients.loss, gradient_norm=norm, learning_rate=learning_rate
            )
        for group in session.optimizer.param_groups:
            group["lr"] = learning_rate
        session.optimizer.step()
        seconds = time.perf_counter() - started
        tokens, cells = sum(batch.n_tokens for batch in batches), sum(batch.n_padded for batch in batches)
        self._advance(len(batches), gradients.loss, gradients.target_tokens, tokens, cells, seconds)
        report = StepReport(
            step=step,
            epoch=self.state.epoch + 1,
            loss=gradients.loss,
            learning_rate=learning_rate,
            gradient_norm=norm,
            tokens=tokens,
            cells=cells,
            seconds=seconds,
            detailed=detailed,
            gradient_norms=norms,
            memory=memory_in_use(session.device) if detailed and self.config.logging.log_memory_usage else {},
            histograms=drawn,
            model_flops_utilisation=self._utilisation(tokens, seconds),
        )
        for listener in self.listeners:
            listener.on_step(report)

    def _advance(
        self, batches: int, loss: float, targets: int, tokens: int, cells: int, seconds: float
    ) -> None:
        state = self.state
        state.step += 1
        state.batch += batches
        state.epoch_loss_sum += loss * targets
        state.epoch_target_tokens += targets
        state.tokens += tokens
        state.cells += cells
        state.seconds += seconds

    def _validate(self, batches: list[Batch]) -> None:
        """Score the validation split, translate a few sentences, and remember whether this is the best so far.

        Args:
            batches: of the step just done, kept for inspection if it broke the model.
        """
        session, state, evaluation = self.session, self.state, self.config.evaluation
        measured = measure_loss(session.model, session.valid, evaluation.batch_size, session.device)
        if not math.isfinite(measured.loss):  # before this model takes the place of a good checkpoint
            self._diverged(batches, state.step, validation_loss=measured.loss)
        examples = list(islice(self._translatable(), evaluation.n_samples))
        outputs = translate(session.model, session.tokenizers, [e.source for e in examples], evaluation)
        improved = state.best_loss is None or measured.loss < state.best_loss
        state.last_validation_loss, state.validated_at = measured.loss, state.step
        state.best_loss = measured.loss if improved else state.best_loss
        state.validations_without_improvement = 0 if improved else state.validations_without_improvement + 1
        report = ValidationReport(
            step=state.step,
            epoch=state.epoch + 1,
            loss=measured.loss,
            perplexity=measured.perplexity,
            token_accuracy=measured.token_accuracy,
            improved=improved,
            samples=[Sample(e.source, e.target, t.output) for e, t in zip(examples, outputs, strict=True)],
        )
        for listener in self.listeners:
            listener.on_validation(report)

    def _translatable(self) -> Iterator[Example]:
        """Yield the validation examples whose source the model can read; `skip_long` lets others be there."""
        limit, encode = self.config.model.max_length, self.session.tokenizers.source.encode
        return (e for e in self.session.dataset.valid if len(encode(e.source)) < limit)  # < for the end mark

    def _save_if_due(self) -> None:
        every = self.config.training.save_every
        just_validated = self.state.validated_at == self.state.step
        best = just_validated and self.state.validations_without_improvement == 0
        if best or self._is_finished() or (every is not None and self.state.step % every == 0):
            self._save(best=best)

    def _save(self, *, best: bool) -> None:
        session, state = self.session, self.state
        state.finished = self._is_finished()
        path = session.store.save(session.model, session.optimizer, state, session.identity, best=best)
        self.saved_step = state.step
        report = CheckpointReport(state.step, state.epoch + 1, path, state.last_validation_loss, best)
        for listener in self.listeners:
            listener.on_checkpoint(report)

    def _end_epoch(self) -> None:
        state = self.state
        for listener in self.listeners:
            listener.on_epoch(state.epoch + 1, state.epoch_loss_sum / state.epoch_target_tokens)
        state.epoch, state.batch = state.epoch + 1, 0
        state.epoch_loss_sum, state.epoch_target_tokens = 0.0, 0

    def _interrupted(self) -> None:
        """Save and leave. A step in progress is dropped: on resume it is computed again, to the same bit."""
        if self.saved_step != self.state.step:
            self._save(best=False)
        name = self.session.folder.name
        raise Interrupted(
            f"stopped by {self.stop.signal_name} after step {self.state.step}; a checkpoint is saved",
            hint=f"stepwise resume {name}",
        )

    def _diverged(self, batches: list[Batch], step: int, **facts: float) -> NoReturn:
        session = self.session
        folder = session.folder.path / "divergence" / f"step-{step:08d}"
        save_divergence(
            folder, session.model, batches, session.tokenizers, {"step": step, **facts}, session.device
        )
        what = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in facts.items())
        raise DivergedError(
            f"step {step} diverged: {what}; batch and statistics are in {folder}",
            hint="lower training.learning_rate, or set training.gradient_clipping=1.0",
        )

    def _finish(self) -> None:
        count = self.config.training.average_checkpoints
        if count:
            kept = self.session.store.kept()[-count:]
            average_checkpoints(kept, self.session.store.folder / AVERAGED)

    def _announce(self) -> None:
        plan = RunPlan(
            run=self.session.folder.name,
            folder=self.session.folder.path,
            parameters=self.parameters,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
            first_step=self.state.step,
            padding_ratio=self.session.plan.padding_ratio(0),
            device=describe_device(self.session.device),
        )
        for listener in self.listeners:
            listener.on_start(plan)

    def _is_finished(self) -> bool:
        patience = self.config.training.early_stopping
        patient = patience is None or self.state.validations_without_improvement < patience
        return self._is_last_step() or not patient

    def _is_last_step(self) -> bool:
        return self.state.step >= self.total_steps

    def _is_due(self, every: int) -> bool:
        return self.state.step % every == 0

    def _is_logged(self, step: int) -> bool:
        return step == 1 or step % self.config.logging.log_training_every == 0

    def _histograms_due(self, step: int) -> bool:
        every = self.config.logging.log_histograms_every
        return every is not None and step % every == 0

    def _utilisation(self, tokens: int, seconds: float) -> float | None:
        if self.peak_flops is None:
            return None
        return model_flops(self.parameters, tokens) / seconds / self.peak_flops
