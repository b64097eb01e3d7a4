"""Processes that are killed, forked, doubled or out of disk: every event still arrives exactly once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from relay_tools import WAIT_S, Tracker, eventually, open_logger

from stepwise_track import read_run, summarize
from stepwise_track.events import Scalars
from stepwise_track.relay import status

pytestmark = pytest.mark.slow

TRAIN = """
import os, signal, sys, time
from pathlib import Path
from stepwise_track import ExperimentLogger
run_dir, server, name, steps = sys.argv[1:5]
first = int(sys.argv[5]) if len(sys.argv) > 5 else None
with ExperimentLogger(
    "project", run_dir=run_dir, backends={name: {"server": server}}, resume_step=first, finish_wait_s=60
) as logger:
    for step in range((first or 0) + 1, int(steps) + 1):
        logger.log_training_step(loss=1.0 / step, learning_rate=0.1, step=step)
        if step % 50 == 0:
            print(step, flush=True)
            time.sleep(0.01)
"""


def train(run_dir: Path, tracker: Tracker, steps: int, resume: int | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", TRAIN, str(run_dir), str(tracker.folder), "recorder", str(steps)]
    command += [] if resume is None else [str(resume)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def relay_process(run_dir: Path) -> psutil.Process | None:
    """Return the living relay of a run."""
    try:
        found = psutil.Process(json.loads((run_dir / "relay" / "relay.json").read_text())["pid"])
        return found if found.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, psutil.Error):
        return None


def all_is_delivered(run_dir: Path) -> bool:
    return all(one.pending == 0 and one.finished for one in status(run_dir))


def test_a_relay_that_is_killed_ten_times_loses_and_repeats_nothing(tmp_path: Path, tracker: Tracker) -> None:
    run_dir = tmp_path / "run"
    tracker.start().behave(do="slow", place="half")
    logger = open_logger(run_dir, {"recorder": tracker.options})
    killed: set[int] = set()
    step = 0
    while len(killed) < 10:
        relay = relay_process(run_dir)
        if relay and relay.pid not in killed and len(tracker.numbers()) > len(killed):
            relay.kill()
            killed.add(relay.pid)
        step += 1
        begun = time.monotonic()
        logger.log_training_step(loss=1.0 / step, learning_rate=0.1, step=step)
        assert time.monotonic() - begun < 1
        time.sleep(0.01)
    tracker.behave()
    logger.finish()
    tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["completed"]
    assert len(killed) == 10


def test_a_trainer_that_is_killed_while_it_writes_is_delivered_and_marked_failed(
    tmp_path: Path, tracker: Tracker
) -> None:
    run_dir = tmp_path / "run"
    tracker.start()
    process = train(run_dir, tracker, 10**9)
    assert process.stdout
    while int(process.stdout.readline()) < 1000:
        pass
    process.kill()
    process.wait()
    eventually(lambda: all_is_delivered(run_dir), "the relay delivers what the dead trainer left")
    tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["failed"]
    assert summarize(run_dir).status == "died"  # the journal stays as it was
    eventually(lambda: relay_process(run_dir) is None, "the relay ends")

    resumed = train(run_dir, tracker, 1200, resume=900)
    assert resumed.wait(WAIT_S) == 0
    tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["failed", "completed"]


def test_an_interrupt_of_the_whole_terminal_leaves_the_relay_alive(tmp_path: Path, tracker: Tracker) -> None:
    run_dir = tmp_path / "run"
    tracker.start()
    process = train(run_dir, tracker, 10**9)
    assert process.stdout
    while int(process.stdout.readline()) < 500:
        pass
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C: everything in the trainer's process group gets it
    process.wait(WAIT_S)
    tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["stopped"]


def test_two_runs_into_one_project_at_once(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    runs = [tmp_path / "one", tmp_path / "two"]
    processes = [train(run_dir, tracker, 400) for run_dir in runs]
    assert [process.wait(WAIT_S) for process in processes] == [0, 0]
    for run_dir in runs:
        tracker.assert_exactly_once(run_dir)
    assert tracker.finished() == ["completed", "completed"]


def test_forks_and_data_loader_workers_do_not_disturb(tmp_path: Path, tracker: Tracker) -> None:
    pytest.importorskip("torch")
    tracker.start()
    program = (
        "import os, sys\n"
        "from torch.utils.data import DataLoader\n"
        "from stepwise_track import ExperimentLogger\n"
        "backends = {'recorder': {'server': sys.argv[2]}}\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1], backends=backends, finish_wait_s=60) as logger:\n"
        "    for step, _ in enumerate(DataLoader(range(40), num_workers=2), start=1):\n"
        "        logger.log_training_step(loss=1, step=step)\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        logger.finish('failed')\n"
        "        sys.exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "    logger.log_training_step(loss=1, step=step + 1)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run"), str(tracker.folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT_S)
    assert result.returncode == 0, result.stderr
    tracker.assert_exactly_once(tmp_path / "run")
    assert tracker.finished() == ["completed"]
    steps = [one.event.step for one in read_run(tmp_path / "run").records if isinstance(one.event, Scalars)]
    assert [step for step in steps if step] == list(range(1, 42))


def test_only_rank_0_has_a_relay(tmp_path: Path, tracker: Tracker) -> None:
    tracker.start()
    runs = [tmp_path / "rank0", tmp_path / "rank1"]
    processes = []
    for rank, run_dir in enumerate(runs):
        environment = os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        command = [sys.executable, "-c", TRAIN, str(run_dir), str(tracker.folder), "recorder", "100"]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    assert [process.wait(WAIT_S) for process in processes] == [0, 0]
    tracker.assert_exactly_once(runs[0])
    assert not (runs[1] / "relay").exists() and not (runs[1] / "journal").exists()
    assert tracker.finished() == ["completed"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 300 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_stops_neither_training_nor_delivery_for_good(
    small_disk: Path, tracker: Tracker, warnings: list[str]
) -> None:
    run_dir = small_disk / "run"
    tracker.start()
    logger = open_logger(run_dir, {"recorder": tracker.options})
    step = 0
    while not any("cannot log to" in one for one in warnings):
        step += 1
        logger.log_training_step(loss=1.0 / step, learning_rate=0.1, step=step)
        assert step < 10_000
    for more in range(20):
        logger.log_training_step(loss=1.0, learning_rate=0.1, step=step + more)
        time.sleep(0.05)
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    logger.log_training_step(loss=1.0, learning_rate=0.1, step=step + 20)
    logger.finish()
    assert any("No space left on device" in one for one in warnings)
    assert summarize(run_dir).lost_events >= 20
    tracker.assert_exactly_once(run_dir)
    assert any(" events_lost " in line for line in tracker.lines())
    assert tracker.finished() == ["completed"]
