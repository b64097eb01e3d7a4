"""Watched models: right norms and counts, at the right steps, and a training that does not notice."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwise_track import ExperimentLogger, TrackError, limits, read_series
from stepwise_track.capture.watch import group_of
from stepwise_track.events import Event, Histogram, Scalars

torch = pytest.importorskip("torch")

Logged = Callable[[ExperimentLogger], list[Event]]


def build() -> Any:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)]
    return torch.nn.Sequential(*layers)


def train(logger: ExperimentLogger | None, steps: int = 6) -> Any:
    """Train with dropout, so that one random number more or less would change every later weight."""
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    if logger:
        logger.watch(model, every=2)
    for step in range(1, steps + 1):
        loss = model(torch.randn(16, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if logger:
            logger.log_training_step(loss, step=step)
    return model


def test_a_watched_training_is_the_same_to_the_bit(logger: ExperimentLogger) -> None:
    watched, alone = train(logger), train(None)
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other) and torch.equal(one.grad, other.grad)
        assert one.grad_fn is None and one.requires_grad


def test_norms_and_weights_come_every_so_many_steps(logger: ExperimentLogger, logged: Logged) -> None:
    model = train(logger)
    series = read_series(logger.run_dir)
    assert [step for step, _, _ in series["gradient_norm/total"]] == [1, 2, 4, 6]
    last = {name: series[f"gradient_norm/{name}"][-1][1] for name in ("0", "2", "total")}
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert last["total"] == pytest.approx(float(flat.norm()), rel=1e-5)
    assert last["total"] == pytest.approx(math.hypot(last["0"], last["2"]), rel=1e-6)
    histograms = [event for event in logged(logger) if isinstance(event, Histogram)]
    assert {(one.name, one.step) for one in histograms} == {
        (f"weights/{name}", step) for name, _ in model.named_parameters() for step in (1, 2, 4, 6)
    }
    of_first = next(one for one in histograms if one.name == "weights/0.weight" and one.step == 6)
    assert sum(of_first.counts) == 32
    assert of_first.edges[0] == pytest.approx(float(model[0].weight.detach().min()))


def test_steps_that_are_logged_seldom_are_watched_when_due(logger: ExperimentLogger) -> None:
    model = build()
    model(torch.ones(1, 4)).sum().backward()
    logger.watch(model, every=100, histograms=False)
    for step in range(30, 400, 30):
        logger.log_training_step(1.0, step=step)
    assert [step for step, _, _ in read_series(logger.run_dir)["gradient_norm/total"]] == [30, 120, 210, 300]


def test_an_explicit_look(logger: ExperimentLogger, logged: Logged) -> None:
    model = build().half()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 300.0)  # its square is no half-precision number
    logger.watch(model, histograms=False, prefix="discriminator/")
    logger.log_watched(7)
    (event,) = logged(logger)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert isinstance(event, Scalars) and event.step == 7
    assert event.values["gradient_norm/discriminator/total"] == pytest.approx(
        300 * math.sqrt(count), rel=1e-4
    )
    assert event.values.keys() == {f"gradient_norm/discriminator/{name}" for name in ("0", "2", "total")}


def test_sparse_frozen_and_nan_gradients(logger: ExperimentLogger, logged: Logged) -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 1, 3])).sum().backward()
    logger.watch(embedding, histograms=False)
    logger.log_watched(1)
    embedding.weight.grad = torch.tensor([[math.nan, 1.0]] * 5)
    logger.log_watched(2)
    first, second = logged(logger)
    assert isinstance(first, Scalars) and isinstance(second, Scalars)
    assert first.values["gradient_norm/weight"] == pytest.approx(math.sqrt(2 * 4 + 2 * 1))
    assert math.isnan(second.values["gradient_norm/total"])


def test_gradients_that_are_gone_are_said_once(
    logger: ExperimentLogger, logged: Logged, warnings: list[str]
) -> None:
    logger.watch(build(), every=1, histograms=False)
    for step in range(3):
        logger.log_training_step(1.0, step=step)
    assert len(warnings) == 1 and "before zero_grad()" in warnings[0]
    assert [event.values for event in logged(logger) if isinstance(event, Scalars)] == [
        {"train/loss": 1.0}
    ] * 3


def test_large_parameters_are_sampled(
    logger: ExperimentLogger, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_VALUES", 100)
    logger.watch(torch.nn.Linear(30, 30))
    logger.log_watched(1)
    counts = {event.name: sum(event.counts) for event in logged(logger) if isinstance(event, Histogram)}
    assert counts == {"weights/weight": 100, "weights/bias": 30}


@pytest.mark.parametrize(
    ("parameter", "group"),
    [
        ("encoder.layers.0.attention.query.weight", "encoder.layers.0"),
        ("embedding.token.weight", "embedding"),
        ("0.weight", "0"),
        ("weight", "weight"),
        ("conv1.weight", "conv1"),
        ("transformer.h.11.mlp.3.bias", "transformer.h.11"),
    ],
)
def test_blocks(parameter: str, group: str) -> None:
    assert group_of(parameter) == group


def test_wrappers_do_not_show_in_the_names(logger: ExperimentLogger, logged: Logged) -> None:
    wrapped = torch.nn.Module()
    wrapped.module = torch.compile(build())
    for parameter in wrapped.parameters():
        parameter.grad = torch.ones_like(parameter)
    logger.watch(wrapped)
    logger.log_watched(1)
    norms, *histograms = logged(logger)
    assert isinstance(norms, Scalars)
    assert norms.values.keys() == {"gradient_norm/total", "gradient_norm/0", "gradient_norm/2"}
    names = {event.name for event in histograms if isinstance(event, Histogram)}
    assert names == {f"weights/{index}.{kind}" for index in (0, 2) for kind in ("weight", "bias")}


def test_what_cannot_be_watched(logger: ExperimentLogger, tmp_path: Path) -> None:
    with pytest.raises(TrackError, match="cannot watch str every 100 steps"):
        logger.watch("model")
    with pytest.raises(TrackError, match="every 0 steps"):
        logger.watch(build(), every=0)
