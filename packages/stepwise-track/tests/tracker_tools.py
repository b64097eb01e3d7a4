"""What the tests of the trackers share: a run with everything in it, and deliveries that are killed half way.

As a program it is the victim: `python tracker_tools.py BACKEND RUN_DIR FLUSHED KILLED_AT` opens a backend as a worker
does, delivers the records up to FLUSHED as one batch, those up to KILLED_AT as the next, and is killed (-9) before
anything is noted of that.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stepwise_track import ExperimentLogger
from stepwise_track.backends import load_backend
from stepwise_track.backends.protocol import Backend, Delivery, RunContext
from stepwise_track.backends.replay import earlier_records
from stepwise_track.events import RunStarted
from stepwise_track.relay.cursor import Cursor, cursor_path

LOSSES = {1: 0.5, 2: math.nan, 3: math.inf, 4: -math.inf, 5: 0.1}
"""Training loss by step."""

PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20


def open_run(run_dir: Path, **options: Any) -> ExperimentLogger:
    """Open a logger that logs nothing by itself: events are to be counted."""
    quiet: dict[str, Any] = {"capture_console": False, "system_metrics": False, "log_code": False}
    return ExperimentLogger(
        "team/p", "my run", run_dir=run_dir, tags=["a tag"], notes="why", **(quiet | options)
    )


def log_everything(run_dir: Path, **options: Any) -> None:
    """Write a run with every kind of value."""
    with open_run(run_dir, config={"model": {"d_model": 64, "dropout": math.nan}}, **options) as logger:
        for step, loss in LOSSES.items():
            logger.log_training_step(loss=loss, learning_rate=0.25, step=step, epoch=1)
        logger.log_epoch(2, train_loss=0.75)
        logger.log_custom_metric("odd [name]", 3, 7, why="because")
        logger.log_single_value("bleu", 0.5)
        logger.log_single_value("broken", math.nan)
        logger.log_table("Final Metrics", [["bleu", 0.5], ["other", math.nan]], ["Metric", "Value"], step=6)
        logger.log_text("note", "two <words> & ü", step=5)
        logger.log_histogram("weights", [1.0, 2.0, 2.5, math.nan], step=4)
        logger.log_image("cat", PIXELS, step=3)
        (run_dir / "drawing.svg").write_text("<svg/>", encoding="utf-8")
        logger.log_image("drawing", run_dir / "drawing.svg", step=3)
        (run_dir / "broken.png").write_bytes(b"no picture")
        logger.log_image("broken picture", run_dir / "broken.png")
        (run_dir / "embeddings.bin").write_bytes(b"123" * 100)
        logger.log_artifact("embeddings", run_dir / "embeddings.bin", metadata={"dim": 3})
        weights = run_dir / "checkpoints" / "latest"
        for step in (4, 5):  # the second takes the place of the first
            weights.mkdir(parents=True, exist_ok=True)
            (weights / "model.safetensors").write_bytes(b"weights %d" % step)
            (weights / "optimizer.safetensors").write_bytes(b"optimizer")
            logger.log_checkpoint(None, None, 1, step, LOSSES[step], weights, is_best=step == 5)
        logger.log_hyperparameters({"model": {"d_model": 32}})


def deliveries(run_dir: Path) -> list[Delivery]:
    """Return all records of a run, as a worker delivers them."""
    return list(earlier_records(RunContext(run_dir, _journal_id(run_dir), None), 10**9))  # type: ignore[arg-type]


def opened(name: str, run_dir: Path, *, uncertain_until: int = 0) -> tuple[Backend, RunContext]:
    """Open a backend as a worker does, with the state that the last one saved."""
    (first, *_) = deliveries(run_dir)
    path = run_dir / f"{name}.state.json"
    state = json.loads(path.read_text()) if path.exists() else {}
    assert isinstance(first.event, RunStarted)
    cursor = Cursor.load(cursor_path(run_dir, name))
    context = RunContext(
        run_dir,
        _journal_id(run_dir),
        first.event,
        state=state or cursor.state,
        uncertain_until=uncertain_until,
    )
    context.save = lambda: _save(path, context.state)
    backend = load_backend(name)()
    backend.open(context)
    _save(path, context.state)
    return backend, context


def deliver(backend: Backend, context: RunContext, records: list[Delivery]) -> None:
    """Deliver one batch, and save the state with it."""
    backend.deliver(records)
    backend.flush()
    context.save()


def killed_delivery(name: str, run_dir: Path, flushed: int, killed_at: int, after_s: float = 0) -> None:
    """Deliver records up to `flushed`, then up to `killed_at`, then be killed; in a process of its own."""
    victim = subprocess.run(
        [sys.executable, __file__, name, run_dir, *map(str, (flushed, killed_at, after_s))]
    )
    assert victim.returncode == -signal.SIGKILL


def deliver_rest(
    name: str, run_dir: Path, flushed: int, killed_at: int, status: str = "completed"
) -> RunContext:
    """Do what the next worker does: the same batch again, then the rest, then the end."""
    records = deliveries(run_dir)
    backend, context = opened(name, run_dir, uncertain_until=killed_at)
    for batch in (records[flushed:killed_at], records[killed_at:]):
        if batch:
            deliver(backend, context, batch)
    backend.finish(status)
    context.save()
    backend.close()
    return context


def _journal_id(run_dir: Path) -> str:
    first = (run_dir / "journal" / "000001.jsonl").read_text().splitlines()[0]
    journal: str = json.loads(first.partition(" ")[2])["journal"]
    return journal


def _save(path: Path, state: dict[str, Any]) -> None:
    path.write_text(json.dumps(state))


def _be_killed(name: str, run_dir: Path, flushed: int, killed_at: int, after_s: float) -> None:
    records = deliveries(run_dir)
    backend, context = opened(name, run_dir)
    if flushed:
        deliver(backend, context, records[:flushed])
    if killed_at > flushed:
        backend.deliver(records[flushed:killed_at])
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _be_killed(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
