"""One optimiser step: the loss is per token of the whole step, and clipping bounds the gradient."""

import math

import pytest
import torch
from torch import Tensor, nn

from stepwise_core.config import TrainingConfig, load_config
from stepwise_core.data.batches import Batch, EncodedSplit, collate, encode_split
from stepwise_core.data.dataset import Dataset, load_dataset
from stepwise_core.data.tokenizers import build_tokenizers
from stepwise_core.models import Transformer, build_model
from stepwise_core.training.step import StopRequested, accumulate_gradients, clip_gradients

CPU = torch.device("cpu")
SMALL = (
    *("model.d_model=16", "model.n_heads=2", "model.n_layers=1", "model.max_length=32"),
    *("data.name=addition", "data.n_train=32", "data.n_valid=1", "data.n_test=1"),
    *("data.toy.min_length=1", "data.toy.max_length=6"),
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(load_config(None, SMALL, environ={}).config.data)


def prepare(dataset: Dataset, dropout: float) -> tuple[Transformer, EncodedSplit, TrainingConfig]:
    """Return a float64 model in training mode, 32 encoded examples of ragged lengths, and the settings."""
    config = load_config(None, [*SMALL, f"model.dropout={dropout}"], environ={}).config
    tokenizers = build_tokenizers(config.tokenizer, dataset)
    split = encode_split(dataset.train, tokenizers, max_length=32, origin="test")
    torch.manual_seed(0)
    model = build_model(config.model, tokenizers.source.vocab_size, tokenizers.target.vocab_size)
    return model.double().train(), split, config.training


def gradients_of(
    model: Transformer, split: EncodedSplit, config: TrainingConfig, groups: list[range]
) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    batches = [collate(split, tuple(group)) for group in groups]
    found = accumulate_gradients(model, batches, config, CPU, step=1)
    return found.loss, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "groups",
    [
        [range(start, start + 8) for start in range(0, 32, 8)],
        [range(1), range(1, 4), range(4, 30), range(30, 32)],
        [range(row, row + 1) for row in range(32)],
    ],
    ids=["4 x 8", "ragged", "32 x 1"],
)
def test_micro_batches_give_the_gradient_of_the_whole_batch(dataset: Dataset, groups: list[range]) -> None:
    model, split, config = prepare(dataset, dropout=0.0)
    lengths = split.target_lengths
    assert len({int(lengths[list(group)].sum()) for group in groups}) > 1, "the micro-batches must be ragged"
    whole_loss, whole = gradients_of(model, split, config, [range(32)])
    loss, found = gradients_of(model, split, config, groups)
    assert loss == pytest.approx(whole_loss, rel=1e-13)
    assert found.keys() == whole.keys() == dict(model.named_parameters()).keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-14, msg=name)


def test_the_loss_is_the_mean_over_target_tokens(dataset: Dataset) -> None:
    """Not the mean of the means of micro-batches."""
    model, split, config = prepare(dataset, dropout=0.0)
    parts = [gradients_of(model, split, config, [group])[0] for group in (range(4), range(4, 32))]
    tokens = [int(split.target_lengths[group].sum()) for group in (slice(0, 4), slice(4, 32))]
    loss, _ = gradients_of(model, split, config, [range(4), range(4, 32)])
    weighted = (parts[0] * tokens[0] + parts[1] * tokens[1]) / sum(tokens)
    assert loss == pytest.approx(weighted, rel=1e-13)
    assert abs(loss - sum(parts) / 2) > 1e-4, "the data cannot tell both means apart"


def test_dropout_is_a_function_of_step_and_micro_batch(dataset: Dataset) -> None:
    model, split, config = prepare(dataset, dropout=0.5)
    batch = collate(split, tuple(range(8)))

    def losses(step: int, batches: list[Batch]) -> float:
        torch.randn(step)  # a different past of the global generator
        return accumulate_gradients(model, batches, config, CPU, step).loss

    assert losses(3, [batch]) == losses(3, [batch])
    assert losses(3, [batch]) != losses(4, [batch])
    assert losses(3, [batch, batch]) != losses(3, [batch]), "both micro-batches drop the same units"


def test_stopping_comes_before_the_micro_batch(dataset: Dataset) -> None:
    model, split, config = prepare(dataset, dropout=0.0)
    batches = [collate(split, tuple(range(8)))] * 3
    answers = iter([False, False, True])
    with pytest.raises(StopRequested):
        accumulate_gradients(model, batches, config, CPU, 1, should_stop=lambda: next(answers))
    assert next(answers, None) is None


def with_gradient(*values: list[float]) -> nn.Module:
    model = nn.ParameterList(torch.zeros(len(row)) for row in values)
    for parameter, row in zip(model, values, strict=True):
        parameter.grad = torch.tensor(row)
    return model


def norm_of(model: nn.Module) -> float:
    return math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))


def test_gradient_clipping_bounds_the_norm() -> None:
    """The paper's preset does not clip; the modern one scales to a global norm of 1."""
    model = with_gradient([3.0, 0.0], [0.0, 4.0])
    assert clip_gradients(model, None) == pytest.approx(5.0)
    assert norm_of(model) == pytest.approx(5.0)
    assert clip_gradients(model, 1.0) == pytest.approx(5.0), "the norm before clipping is reported"
    assert norm_of(model) == pytest.approx(1.0, rel=1e-5)
    first, second = model.parameters()
    torch.testing.assert_close(first.grad, torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(second.grad, torch.tensor([0.0, 0.8]))


def test_small_gradients_are_not_clipped() -> None:
    model = with_gradient([0.3], [0.4])
    assert clip_gradients(model, 1.0) == pytest.approx(0.5)
    assert [p.grad.item() for p in model.parameters() if p.grad is not None] == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_leaves_the_evidence(bad: float) -> None:
    model = with_gradient([bad], [0.4])
    assert not math.isfinite(clip_gradients(model, 1.0))
    first, second = model.parameters()
    assert first.grad is not None
    assert not first.grad.isfinite().any()
    torch.testing.assert_close(second.grad, torch.tensor([0.4]))
