"""The loop: when it validates, saves, tells and ends."""

import math
from pathlib import Path

import pytest
import torch
from tiny import Recorder, StopAt, tiny_session, train, train_run

from stepwise_core.data.batches import collate
from stepwise_core.errors import Interrupted
from stepwise_core.training.checkpoints import read_checkpoint
from stepwise_core.training.loop import Trainer
from stepwise_core.training.schedules import learning_rate_at
from stepwise_core.training.validation import SplitLoss, measure_loss

SELDOM = "logging.log_validation_every=1000"


def test_listeners_are_told_everything_in_order(tmp_path: Path) -> None:
    _, recorder = train_run(tmp_path, "training.save_every=7", "logging.log_validation_every=12")
    steps = {number: [f"step {number}"] for number in range(1, 17)}
    steps[7] += ["checkpoint 7"]
    steps[8] += ["epoch 1"]
    steps[12] += ["validation 12", "checkpoint 12"]
    steps[14] += ["checkpoint 14"]
    steps[16] += ["validation 16", "checkpoint 16", "epoch 2"]
    assert recorder.order == ["start", *(event for events in steps.values() for event in events)]


def test_every_listener_hears_the_same(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    first, second = Recorder(), Recorder()
    Trainer(session, [first, second]).run()
    assert first.order == second.order
    assert first.steps == second.steps


def test_the_plan_tells_what_comes(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "training.accumulation=3")
    plan = train(session).plan
    assert plan is not None
    assert (plan.run, plan.folder, plan.first_step) == ("run", session.folder.path, 0)
    assert (plan.steps_per_epoch, plan.total_steps) == (3, 6)
    assert plan.parameters == sum(parameter.numel() for parameter in session.model.parameters())
    assert plan.padding_ratio == session.plan.padding_ratio(0)
    assert plan.device == "cpu (1 threads)"


@pytest.mark.parametrize(
    ("changes", "steps", "epochs"),
    [
        ((), 16, 2),
        (("training.max_steps=5",), 5, 0),
        (("training.max_steps=8",), 8, 1),
        (("training.max_steps=10",), 10, 1),
        (("training.max_steps=99",), 16, 2),
        (("training.accumulation=100",), 2, 2),
        (("training.batch_by=tokens", "training.batch_size=500", "training.epochs=3"), None, 3),
    ],
)
def test_training_ends_after_its_epochs_or_its_steps(
    tmp_path: Path, changes: tuple[str, ...], steps: int | None, epochs: int
) -> None:
    folder, recorder = train_run(tmp_path, *changes, SELDOM)
    if steps is None:
        assert recorder.plan is not None
        steps = epochs * recorder.plan.steps_per_epoch
    assert [report.step for report in recorder.steps] == list(range(1, steps + 1))
    assert [epoch for epoch, _ in recorder.epochs] == list(range(1, epochs + 1))
    assert [report.step for report in recorder.validations] == [steps], "the end is always validated"
    assert [(report.step, report.is_best) for report in recorder.checkpoints] == [(steps, True)]
    assert read_checkpoint(folder.checkpoints / "latest").state.finished


def test_an_epoch_trains_each_example_once(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "training.accumulation=3")
    recorder = train(session)
    tokens = int(session.train.source_lengths.sum() + session.train.target_lengths.sum())
    for steps in (recorder.steps[:3], recorder.steps[3:]):
        assert sum(report.tokens for report in steps) == tokens
        assert {report.epoch for report in steps} == {1 if steps[0].step == 1 else 2}
    assert session.state.tokens == 2 * tokens
    assert session.state.cells == sum(report.cells for report in recorder.steps) > 2 * tokens


def test_the_loss_of_an_epoch_is_the_mean_over_its_target_tokens(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    recorder = train(session)
    for epoch, found in recorder.epochs:
        losses = [report.loss for report in recorder.steps if report.epoch == epoch]
        plan = session.plan.epoch(epoch - 1)
        tokens = [int(session.train.target_lengths[list(indices)].sum()) for indices in plan]
        weighted = sum(loss * count for loss, count in zip(losses, tokens, strict=True)) / sum(tokens)
        assert found == pytest.approx(weighted, rel=1e-12)
        assert found != pytest.approx(sum(losses) / len(losses), rel=1e-6), "cannot tell both means apart"


def test_each_step_uses_the_rate_of_its_schedule(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    recorder = train(session)
    training = session.config.training
    for report in recorder.steps:
        assert report.learning_rate == learning_rate_at(report.step, training, d_model=16, total_steps=16)
    assert session.optimizer.param_groups[0]["lr"] == recorder.steps[-1].learning_rate


def test_training_learns(tmp_path: Path) -> None:
    _, recorder = train_run(tmp_path, "training.learning_rate=0.01", "model.dropout=0.0")
    assert recorder.steps[-1].loss < recorder.steps[0].loss - 0.2
    assert recorder.validations[-1].loss < recorder.validations[0].loss


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_ends_after_validations_without_a_better_loss(tmp_path: Path, patience: int) -> None:
    folder, recorder = train_run(
        tmp_path, f"training.early_stopping={patience}", "training.epochs=30", "training.schedule=constant",
        "training.learning_rate=0.3", "logging.log_validation_every=2",
    )  # fmt: skip
    losses = [report.loss for report in recorder.validations]
    assert len(losses) < 100
    improved = [loss < min(losses[:place], default=math.inf) for place, loss in enumerate(losses)]
    assert [report.improved for report in recorder.validations] == improved
    assert improved[-patience:] == [False] * patience
    runs_of_failures = "".join("+" if better else "-" for better in improved[:-1]).split("+")
    assert max(map(len, runs_of_failures)) < patience, "it should have ended earlier"
    state = read_checkpoint(folder.checkpoints / "latest").state
    assert (state.finished, state.step) == (True, 2 * len(losses))
    best = read_checkpoint(folder.checkpoints / "best").state
    assert best.last_validation_loss == best.best_loss == min(losses)


def test_checkpoints_come_when_due_and_when_better(tmp_path: Path) -> None:
    _, recorder = train_run(tmp_path, "training.save_every=4", "logging.log_validation_every=5",
                            "training.learning_rate=0.3", "training.schedule=constant")  # fmt: skip
    better = {report.step for report in recorder.validations if report.improved}
    assert {report.step for report in recorder.checkpoints} == better | {4, 8, 12, 16}
    assert {report.step for report in recorder.checkpoints if report.is_best} == better
    assert {report.step for report in recorder.validations} == {5, 10, 15, 16}
    for report in recorder.checkpoints:
        earlier = [validation.loss for validation in recorder.validations if validation.step <= report.step]
        assert report.loss == (earlier[-1] if earlier else None)


def test_a_stop_saves_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "training.save_every=4")
    recorder = Recorder()
    with pytest.raises(Interrupted) as caught:
        Trainer(session, [recorder], StopAt(6)).run()
    assert str(caught.value) == "stopped by SIGINT after step 6; a checkpoint is saved"
    assert (caught.value.hint, caught.value.exit_code) == ("stepwise resume run", 130)
    assert [report.step for report in recorder.checkpoints] == [4, 6]


def test_a_stop_right_after_a_checkpoint_does_not_write_it_again(tmp_path: Path) -> None:
    """While it was replaced, there would be no complete checkpoint of that step."""
    session = tiny_session(tmp_path, "training.save_every=4")
    recorder = train(session, StopAt(4))
    assert [report.step for report in recorder.checkpoints] == [4]
    assert read_checkpoint(session.folder.checkpoints / "latest").state.step == 4


def test_validation_is_the_plain_loss_without_dropout(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "model.dropout=0.5", "training.label_smoothing=0.3")
    session.model.train()
    cpu = torch.device("cpu")
    found = measure_loss(session.model, session.valid, 128, cpu)
    assert session.model.training, "the mode was not put back"
    assert found.loss == pytest.approx(measure_loss(session.model, session.valid, 3, cpu).loss, rel=1e-6)
    assert found.target_tokens == int(session.valid.target_lengths.sum())
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    session.model.eval()
    assert measure_loss(session.model, session.valid, 128, cpu) == found
    total, correct = 0.0, 0
    for row in range(len(session.valid)):  # one by one: no padding, no mask
        example = collate(session.valid, (row,))
        log_p = session.model(example.source, example.target_input).detach().log_softmax(-1)[0]  # (T, V)
        total -= float(log_p[torch.arange(len(log_p)), example.target_output[0]].sum())
        correct += int((log_p.argmax(-1) == example.target_output[0]).sum())
    assert found.loss == pytest.approx(total / found.target_tokens, rel=1e-5)
    assert found.token_accuracy == correct / found.target_tokens


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    torch.nn.init.zeros_(session.model.output_projection.weight)
    found = measure_loss(session.model, session.valid, 128, torch.device("cpu"))
    assert found.perplexity == pytest.approx(session.tokenizers.target.vocab_size, rel=1e-5)


def test_a_hopeless_loss_has_infinite_perplexity() -> None:
    assert SplitLoss(loss=1e6, token_accuracy=0.0, target_tokens=1).perplexity == math.inf


def test_samples_are_the_first_validation_sentences_that_fit(tmp_path: Path) -> None:
    """`skip_long` leaves sentences there that the model cannot read."""
    files = []
    for split in ("train", "valid", "test"):
        for side in ("source", "target"):
            lines = ["abc", "a" * 40, "bca", "cab"] if split == "valid" else ["abc", "bca", "cab"]
            path = tmp_path / f"{split}.{side}"
            path.write_text("".join(f"{line}\n" for line in lines))
            files.append(f"data.parallel.{split}_{side}={path}")
    changes = ("data.name=parallel", "data.parallel.skip_long=true", "training.max_steps=1")
    _, recorder = train_run(tmp_path, *changes, *files, "evaluation.n_samples=2")
    assert [sample.source for sample in recorder.validations[0].samples] == ["abc", "bca"]
    assert [sample.reference for sample in recorder.validations[0].samples] == ["abc", "bca"]
