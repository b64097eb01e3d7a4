"""A training that breaks stops with exit code 7 before the break is kept, and leaves what explains it."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Recorder, tiny_session

from stepwise_core.data.batches import collate
from stepwise_core.errors import DivergedError
from stepwise_core.training.checkpoints import read_checkpoint
from stepwise_core.training.divergence import describe
from stepwise_core.training.loop import Trainer
from stepwise_core.training.session import Session


def diverge(session: Session) -> tuple[DivergedError, Recorder]:
    recorder = Recorder()
    with pytest.raises(DivergedError) as caught:
        Trainer(session, [recorder]).run()
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value, recorder


def evidence(session: Session, step: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read what was saved; constants such as NaN, which JSON does not know, fail."""
    folder = session.folder.path / "divergence" / f"step-{step:08d}"
    assert sorted(path.name for path in folder.iterdir()) == ["batch.json", "statistics.json"]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    batch, statistics = (
        json.loads((folder / name).read_text(encoding="utf-8"), parse_constant=refuse)
        for name in ("batch.json", "statistics.json")
    )
    return batch, statistics


def test_a_huge_learning_rate(tmp_path: Path) -> None:
    """The first update is still finite; the second step's loss is not. Micro-batches are all kept."""
    session = tiny_session(tmp_path, "training.learning_rate=1.0e+30", "training.accumulation=2",
                           "training.warmup_steps=0", "training.schedule=constant")  # fmt: skip
    error, recorder = diverge(session)
    assert re.match(r"step 2 diverged: loss \S+, gradient norm (nan|inf), learning rate 1e\+30; ", str(error))
    assert str(session.folder.path / "divergence" / "step-00000002") in str(error)
    assert "training.learning_rate" in (error.hint or "")
    assert recorder.order == ["start", "step 1"]
    assert not session.folder.checkpoints.exists()
    batch, statistics = evidence(session, 2)
    plan = session.plan.epoch(0)[2:4]
    assert [row["index"] for row in batch] == [index for indices in plan for index in indices]
    assert all(row["source"] == session.dataset.train[row["index"]].source for row in batch)
    assert all(row["target"] == session.dataset.train[row["index"]].target for row in batch)
    assert [row["source_ids"] for row in batch[: len(plan[0])]] == collate(
        session.train, plan[0]
    ).source.tolist()
    facts = statistics["facts"]
    assert (facts["step"], facts["learning_rate"]) == (2, 1e30)
    assert facts["gradient_norm"] in ("nan", "inf")
    weights = statistics["weights"]["encoder.layers.0.self_attention.query_projection.weight"]
    assert weights["shape"] == [16, 16]
    assert (weights["nan"], weights["infinite"]) == (0, 0)
    assert weights["max"] > 1e29
    assert statistics["gradients"]["source_embedding.tokens.weight"]["nan"] > 0
    assert len(statistics["activations"]) == 2


def test_an_infinite_weight_is_found_where_it_is(tmp_path: Path) -> None:
    """The activations stand in the order of computation: the first bad one names the guilty module."""
    session = tiny_session(tmp_path, "training.save_every=3")
    breaker = Breaker(session)
    with pytest.raises(DivergedError, match="step 5 diverged"):
        Trainer(session, [breaker]).run()
    _, statistics = evidence(session, 5)
    (activations,) = statistics["activations"]
    bad = [name for name, figures in activations.items() if figures["nan"] or figures["infinite"]]
    assert bad[0] == breaker.module
    assert "encoder.layers.0.self_attention" in activations
    assert statistics["weights"][f"{breaker.module}.weight"]["infinite"] == 1
    latest = read_checkpoint(session.folder.checkpoints / "latest")
    assert latest.state.step == 3
    assert all(tensor.isfinite().all() for tensor in latest.weights.values())


class Breaker(Recorder):
    """Makes one weight infinite after step 4."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        names = [name for name, _ in session.model.named_modules()]
        self.module = next(n for n in names if n.startswith("encoder.layers.0.feed_forward."))

    def on_step(self, report: Any) -> None:
        if report.step == 4:
            with torch.no_grad():
                self.session.model.get_submodule(self.module).weight[0, 0] = math.inf


def test_a_model_that_broke_in_its_last_step_is_not_kept(tmp_path: Path) -> None:
    """Its training losses were all finite: validation is the first to notice."""
    session = tiny_session(tmp_path, "training.learning_rate=1.0e+30", "training.warmup_steps=0",
                           "training.schedule=constant", "training.max_steps=1")  # fmt: skip
    error, recorder = diverge(session)
    assert re.match(r"step 1 diverged: validation loss (nan|inf); ", str(error))
    assert recorder.order == ["start", "step 1"]
    assert not session.folder.checkpoints.exists()
    assert evidence(session, 1)[1]["facts"]["validation_loss"] in ("nan", "inf")


def test_statistics_leave_out_what_is_not_finite() -> None:
    figures = describe(torch.tensor([[1.0, 3.0, math.nan], [math.inf, -math.inf, 5.0]]))
    assert figures["shape"] == [2, 3]
    assert (figures["nan"], figures["infinite"]) == (1, 2)
    assert (figures["min"], figures["max"], figures["mean"]) == (1.0, 5.0, 3.0)
    assert figures["std"] == pytest.approx(math.sqrt(8 / 3))
    assert describe(torch.tensor([math.nan])) == {"shape": [1], "nan": 1, "infinite": 0}
