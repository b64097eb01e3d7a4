"""Weights & Biases by the real SDK, online: against a stand-in server that goes, comes back and refuses."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracker_tools import LOSSES, deliver_rest, deliveries, killed_delivery, log_everything, open_run, opened
from wandb_server import StoredRun, WandbServer
from wandb_tools import rows_logged, steps_of, wandb_alone

from stepwise_track.backends.protocol import Rejected, Unreachable
from stepwise_track.events import Console
from stepwise_track.relay import sync

pytest.importorskip("wandb")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with wandb_alone(tmp_path, monkeypatch):
        yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    one = WandbServer()
    monkeypatch.setenv("WANDB_BASE_URL", one.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    yield one
    one.stop()


def only_run(server: WandbServer) -> StoredRun:
    (run,) = server.runs.values()
    return run


def test_online_everything_arrives_once(tmp_path: Path, server: WandbServer) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    (one,) = sync(run_dir, ["wandb"])
    assert (one.pending, one.health, one.finished) == (0, "ok", "completed"), one.error
    run = only_run(server)
    assert [row["_step"] for row in run.history()] == rows_logged(run_dir)
    losses = steps_of(run.history(), "train/loss")
    assert repr(losses) == repr(list(LOSSES.items()))  # also NaN and infinities
    assert (run.summary["bleu"], run.exit_code, run.alerts) == (0.5, 0, [])
    (row,) = [row for row in run.history() if "cat" in row]
    assert run.files[row["cat"]["path"]] == (run_dir / "pictures" / "cat_00000003.png").read_bytes()
    uploaded = {name.partition(":")[0]: artifact for name, artifact in server.artifacts.items()}
    assert uploaded["embeddings"]["files"]["embeddings.bin"] == b"123" * 100
    assert all(artifact["state"] == "COMMITTED" for artifact in server.artifacts.values())
    assert not server.unknown


@pytest.mark.parametrize(("killed_at", "after_s"), [(8, 0), (16, 4)])
def test_online_after_a_kill_nothing_is_twice_and_nothing_is_missing(
    tmp_path: Path, server: WandbServer, killed_at: int, after_s: float
) -> None:
    run_dir = tmp_path / "run"
    log_everything(run_dir)
    killed_delivery("wandb", run_dir, 4, killed_at, after_s)
    arrived = len(only_run(server).rows)
    assert arrived >= 2 and (
        not after_s or arrived > 2
    )  # the flushed ones; given time, also some of the others
    deliver_rest("wandb", run_dir, 4, killed_at)
    run = only_run(server)
    assert [row["_step"] for row in run.history()] == rows_logged(run_dir)
    for row in run.history():
        for item in row.values():
            if isinstance(item, dict) and "path" in item:
                assert hashlib.sha256(run.files[item["path"]]).hexdigest() == item["sha256"]
    assert run.exit_code == 0


@pytest.mark.parametrize("after_s", [0, 4])
def test_online_console_lines_come_once(tmp_path: Path, server: WandbServer, after_s: float) -> None:
    run_dir = tmp_path / "run"
    code = "for n in range(12): logger.log_single_value('n', n); print(f'line {n}'); print(); time.sleep(0.4)"
    program = f"""
import time
from stepwise_track import ExperimentLogger
with ExperimentLogger("p", run_dir={str(run_dir)!r}, system_metrics=False, log_code=False) as logger:
    {code}
    logger.log_training_step(loss=1.0, step=1)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    records = deliveries(run_dir)
    printed = [one.seq for one in records if isinstance(one.event, Console)]
    assert len(printed) > 2
    killed_delivery("wandb", run_dir, printed[1], len(records) - 1, after_s)
    deliver_rest("wandb", run_dir, printed[1], len(records) - 1)
    lines = [line.partition(" ")[2] for line in only_run(server).console.values()]
    assert lines == [text for n in range(12) for text in (f"line {n}", "")]


def test_online_a_server_that_goes_and_comes_back_gets_everything_once(
    tmp_path: Path, server: WandbServer
) -> None:
    run_dir = tmp_path / "run"
    with open_run(run_dir, backends=["wandb"], finish_wait_s=90) as logger:
        logger.log_training_step(loss=1.0, step=1)
        deadline = time.monotonic() + 60
        while not (server.runs and only_run(server).rows):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.status = 503
        logger.log_training_step(loss=2.0, step=2)
        threading.Timer(4, setattr, (server, "status", 200)).start()
        logger.log_training_step(loss=3.0, step=3)
    run = only_run(server)
    assert steps_of(run.history(), "train/loss") == [(1, 1), (2, 2), (3, 3)]
    assert run.exit_code == 0


def test_online_a_failed_run_sends_one_alert(tmp_path: Path, server: WandbServer) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "run"):
        raise ZeroDivisionError
    sync(tmp_path / "run", ["wandb"])
    (alert,) = only_run(server).alerts
    assert (alert["title"], only_run(server).exit_code) == ("my run failed", 1)


def test_a_run_kept_offline_can_be_sent_online_later(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_run(run_dir) as logger:
        logger.log_training_step(loss=1.0, step=1)
    sync(run_dir, ["wandb"])
    monkeypatch.setenv("WANDB_MODE", "online")
    with open_run(run_dir, resume_step=1) as logger:
        logger.log_training_step(loss=2.0, step=2)
    sync(run_dir, ["wandb"])
    assert steps_of(only_run(server).history(), "train/loss") == [(1, 1), (2, 2)]


def wandb_sync(run_dir: Path) -> None:
    """Send all offline folders that are not sent yet, as a user does."""
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    folders = sorted((run_dir / "wandb").glob("offline-run-*"))
    subprocess.run([sys.executable, "-m", "wandb", "sync", *folders], env=environment, check=True, timeout=60)


def test_wandb_sync_sends_what_was_logged_once_also_after_a_resume(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_everything(run_dir)
    killed_delivery("wandb", run_dir, 10, 15)
    deliver_rest("wandb", run_dir, 10, 15)
    wandb_sync(run_dir)
    run = only_run(server)
    assert [row["_step"] for row in run.history()] == rows_logged(run_dir)
    assert run.exit_code == 0 and {artifact["state"] for artifact in server.artifacts.values()} == {
        "COMMITTED"
    }
    artifacts = set(server.artifacts)
    done = len(deliveries(run_dir))
    with open_run(run_dir, resume_step=5) as logger:
        logger.log_training_step(loss=7.0, step=6)
    backend, context = opened("wandb", run_dir)
    backend.deliver(deliveries(run_dir)[done:])
    backend.flush()
    context.save()
    backend.finish("failed")
    wandb_sync(run_dir)
    assert [row["_step"] for row in run.history()] == rows_logged(run_dir)
    assert steps_of(run.history(), "train/loss")[-1] == (6, 7)
    assert run.exit_code == 1 and set(server.artifacts) == artifacts


def first_batch(run_dir: Path) -> None:
    backend, _ = opened("wandb", run_dir)
    try:
        backend.deliver(deliveries(run_dir))
        backend.flush()
    finally:
        backend.close()


def test_wrong_credentials_are_refused_with_the_next_command(tmp_path: Path, server: WandbServer) -> None:
    with open_run(tmp_path / "run"):
        pass
    server.status = 401
    with pytest.raises(Rejected, match=r"refuses us: .*; next: wandb login --host http"):
        first_batch(tmp_path / "run")


def test_without_a_key_it_says_how_to_log_in(tmp_path: Path) -> None:
    with open_run(tmp_path / "run"):
        pass
    (one,) = sync(tmp_path / "run", ["wandb"])
    assert one.health == "rejected" and "\n" not in one.error
    assert "No API key" in one.error and "; next: wandb login --host http" in one.error


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stepwise_track.backends.wandb import session

    with open_run(tmp_path / "run"):
        pass
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(session, "INIT_TIMEOUT_S", 3.0)
    with pytest.raises(Unreachable, match="W&B does not answer"):
        first_batch(tmp_path / "run")
