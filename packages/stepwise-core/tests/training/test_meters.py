"""Figures about a training: exact where they can be, absent where they are not known."""

import math
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Recorder, StopAt, resume, tiny_session, train, train_run
from torch import nn

from stepwise_core.errors import ConfigError, Interrupted
from stepwise_core.trained import load_run
from stepwise_core.training.device import choose_device
from stepwise_core.training.loop import Trainer
from stepwise_core.training.meters import (
    PEAK_FLOPS,
    block_of,
    gradient_norms_by_block,
    memory_in_use,
    model_flops,
    peak_flops,
    weights_and_gradients,
)
from stepwise_core.training.reports import StepReport

CPU = torch.device("cpu")


def report(**figures: float) -> StepReport:
    values = {"step": 1, "epoch": 1, "loss": 1.0, "learning_rate": 1.0, "gradient_norm": 1.0, **figures}
    return StepReport(**values)  # type: ignore[arg-type]


def test_tokens_per_second_and_padding_are_exact() -> None:
    found = report(tokens=750, cells=1_000, seconds=0.5)
    assert found.tokens_per_second == 1_500.0
    assert found.padding_ratio == 0.25


def test_tokens_exclude_padding(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "training.accumulation=2")
    recorder = train(session)
    plan = session.plan.epoch(0)
    for step, found in enumerate(recorder.steps[:4]):
        rows = [list(indices) for indices in plan[2 * step : 2 * step + 2]]
        source, target = session.train.source_lengths, session.train.target_lengths
        assert found.tokens == sum(int(source[part].sum() + target[part].sum()) for part in rows)
        assert found.cells == sum(len(part) * int(source[part].max() + target[part].max()) for part in rows)
    assert sum(found.padding_ratio > 0 for found in recorder.steps) > 0, "no step has padding"


def test_training_time_is_that_of_all_steps(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "logging.log_validation_every=1")
    recorder = train(session)
    assert all(found.seconds > 0 for found in recorder.steps)
    assert session.state.seconds == pytest.approx(sum(found.seconds for found in recorder.steps))


def test_training_time_adds_up_over_a_resume(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    before = sum(found.seconds for found in train(session, StopAt(6)).steps)
    after = sum(found.seconds for found in resume(session.folder).steps)
    assert load_run(session.folder.path, "latest").state.seconds == pytest.approx(before + after)


def test_no_peak_is_made_up() -> None:
    assert peak_flops(CPU, "bfloat16") is None
    assert peak_flops(CPU, "float32") is None
    assert all(1e14 < peak < 1e16 for peak in PEAK_FLOPS.values())


def test_utilisation_is_reported_only_where_the_peak_is_known(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    recorder = Recorder()
    trainer = Trainer(session, [recorder], StopAt(1))
    trainer.peak_flops = 1e12  # as if this processor had a data sheet
    with pytest.raises(Interrupted):
        trainer.run()
    (found,) = recorder.steps
    expected = 6 * trainer.parameters * found.tokens / found.seconds / 1e12
    assert found.model_flops_utilisation == pytest.approx(expected)
    assert all(r.model_flops_utilisation is None for r in train_run(tmp_path, name="cpu")[1].steps)


def test_training_flops_are_six_per_parameter_and_token() -> None:
    assert model_flops(1_000_000, 500) == 3e9


def test_gradient_norms_of_blocks_add_up_to_the_global_one(tmp_path: Path) -> None:
    changes = ("model.n_layers=2", "training.gradient_clipping=0.01", "model.positions=learned")
    _, recorder = train_run(tmp_path, *changes)
    for found in recorder.steps:
        assert found.gradient_norm > 0.01, "the norm before clipping is meant"
        squares = sum(norm**2 for norm in found.gradient_norms.values())
        assert math.sqrt(squares) == pytest.approx(found.gradient_norm, rel=1e-5)
    layers = {f"{side}.layers.{number}" for side in ("encoder", "decoder") for number in (0, 1)}
    assert layers | {"source_embedding", "target_embedding"} <= recorder.steps[0].gradient_norms.keys()


def test_blocks_are_layers_or_what_stands_outside_of_them() -> None:
    assert block_of("encoder.layers.0.self_attention.query_projection.weight") == "encoder.layers.0"
    assert block_of("decoder.layers.11.feed_forward.output_projection.bias") == "decoder.layers.11"
    assert block_of("encoder.norm.weight") == "encoder"
    assert block_of("output_projection.weight") == "output_projection"
    assert block_of("source_embedding.tokens.weight") == "source_embedding"


def test_histograms_are_copies_of_weights_and_gradients_before_the_update(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "logging.log_histograms_every=4")
    names = [name for name, _ in session.model.named_parameters()]
    recorder = train(session)
    drawn = {found.step: found.histograms for found in recorder.steps}
    assert [step for step, values in drawn.items() if values] == [4, 8, 12, 16]
    assert drawn[4].keys() == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    weight = f"weights/{names[0]}"
    assert all(values.dtype == np.float32 for values in drawn[4].values())
    assert not np.array_equal(drawn[4][weight], drawn[8][weight]), "no copy: training went on in it"
    gradients = [values for name, values in drawn[16].items() if name.startswith("gradients/")]
    norm = math.sqrt(sum(float((values.astype(float) ** 2).sum()) for values in gradients))
    assert norm == pytest.approx(recorder.steps[-1].gradient_norm, rel=1e-5)


def test_what_is_not_due_is_not_measured(tmp_path: Path) -> None:
    _, recorder = train_run(tmp_path, "logging.log_training_every=5", "logging.log_memory_usage=false")
    assert [found.step for found in recorder.steps if found.detailed] == [1, 5, 10, 15]
    assert [found.step for found in recorder.steps if found.gradient_norms] == [1, 5, 10, 15]
    assert not any(found.memory for found in recorder.steps)
    _, recorder = train_run(tmp_path, "logging.log_gradient_norms=false", name="other")
    assert not any(found.gradient_norms for found in recorder.steps)
    assert all(found.memory["process"] > 10_000_000 for found in recorder.steps)


def test_memory_grows_with_what_is_held() -> None:
    before = memory_in_use(CPU)
    with mmap.mmap(-1, size := 50_000_000) as held:  # straight from the system: no allocator has it in stock
        held.write(bytes(size))
        assert memory_in_use(CPU)["process"] - before["process"] > 0.8 * size
    assert before.keys() == {"process"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:3", "tpu", "meta", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no device '{name}' here; this machine has cpu"):
        choose_device(name)
    assert choose_device("auto") == CPU


def test_gradients_of_blocks_without_gradient_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0](torch.ones(1, 2)).sum().backward()
    assert gradient_norms_by_block(model).keys() == {"0"}
    assert weights_and_gradients(model).keys() == {
        *(f"weights/{n}.{kind}" for n in (0, 1) for kind in ("weight", "bias")),
        *("gradients/0.weight", "gradients/0.bias"),
    }
