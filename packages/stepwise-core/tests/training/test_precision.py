"""bfloat16 autocast and torch.compile: the same training, up to rounding, and the same checkpoints."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_session, train, train_run

from stepwise_core.trained import load_run
from stepwise_core.training.checkpoints import read_checkpoint


def test_bfloat16_trains_with_weights_in_float32(tmp_path: Path) -> None:
    folder, recorder = train_run(tmp_path, "training.precision=bfloat16", "model.dropout=0.0")
    _, exact = train_run(tmp_path, "model.dropout=0.0", name="float32")
    assert all(math.isfinite(report.loss) for report in recorder.steps)
    assert recorder.losses != exact.losses, "autocast was off"
    for step, loss in exact.losses.items():
        assert recorder.losses[step] == pytest.approx(loss, rel=0.02)
    checkpoint = read_checkpoint(folder.checkpoints / "latest")
    for tensor in (*checkpoint.weights.values(), *checkpoint.optimizer.values()):
        assert tensor.dtype == torch.float32


def test_bfloat16_reaches_the_matrix_products(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, "training.precision=bfloat16", "training.max_steps=1")
    seen = []
    session.model.output_projection.register_forward_hook(
        lambda module, inputs, output: seen.append((module.training, output.dtype))
    )
    train(session)
    assert seen[0] == (True, torch.bfloat16)
    assert {dtype for training, dtype in seen if not training} == {torch.float32}, "scores are exact"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_compiled_training_is_the_same_training(tmp_path: Path) -> None:
    changes = ("model.dropout=0.0", "training.max_steps=2", "evaluation.n_samples=0")
    session = tiny_session(tmp_path, "training.compile=true", *changes, name="compiled")
    compilations = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled = train(session)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compilations, "nothing was compiled"
    folder, plain = train_run(tmp_path, *changes, name="plain")
    for step, loss in plain.losses.items():
        assert compiled.losses[step] == pytest.approx(loss, rel=1e-4)
    weights = read_checkpoint(folder.checkpoints / "latest").weights
    found = read_checkpoint(session.folder.checkpoints / "latest").weights
    assert found.keys() == weights.keys(), "names of the compiled wrapper got into the checkpoint"
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-2, atol=1e-3, msg=name)
    assert load_run(session.folder.path).state.step == 2
