"""The life of a run: it ends as it should, survives a full disk, and never mixes with another."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepwise_track import ExperimentLogger, TrackError, list_runs, read_run, summarize
from stepwise_track.events import Event, EventsLost, RunFinished, Scalars

Logged = Callable[[ExperimentLogger], list[Event]]


@contextmanager
def full_disk(spare_bytes: int, *files: Path) -> Iterator[None]:
    """Let no file grow by more than so many bytes beyond the largest of these: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max((file.stat().st_size for file in files), default=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + spare_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Interrupted(Exception):
    """As the training loop raises after SIGTERM."""

    exit_code = 130


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (SystemExit(0), "completed"),
        (ValueError("x"), "failed"),
        (SystemExit(3), "failed"),
        (KeyboardInterrupt(), "stopped"),
        (Interrupted(), "stopped"),
        (SystemExit(130), "stopped"),
    ],
)
def test_how_the_block_ends_is_the_status(tmp_path: Path, error: BaseException | None, status: str) -> None:
    def run() -> None:
        with ExperimentLogger("p", run_dir=tmp_path):
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            run()
    else:
        run()
    assert summarize(tmp_path).status == status


def test_finish_is_the_end(logger: ExperimentLogger, logged: Logged) -> None:
    with pytest.raises(TrackError, match="cannot finish as 'done'"):
        logger.finish("done")
    logger.finish("stopped")
    logger.finish("completed")
    assert logged(logger) == [RunFinished("stopped")]
    with pytest.raises(TrackError, match="scalars comes too late"):
        logger.log_training_step(loss=1, learning_rate=1, step=1)


def test_a_full_disk_costs_events_but_not_the_training(tmp_path: Path, warnings: list[str]) -> None:
    logger = ExperimentLogger("p", run_dir=tmp_path)
    journal = tmp_path / "journal" / "000001.jsonl"
    with full_disk(500, journal):
        for step in range(100):
            logger.log_training_step(loss=1.5, learning_rate=0.1, step=step)
        logger.log_artifact("too large", __file__)
    assert len(warnings) == 1 and "the run goes on without" in warnings[0]
    assert "File too large" in warnings[0]
    logger.log_training_step(loss=0.5, learning_rate=0.1, step=100)
    logger.finish()

    events = [record.event for record in read_run(tmp_path).records]
    steps = [event.step for event in events if isinstance(event, Scalars)]
    lost = [event for event in events if isinstance(event, EventsLost)]
    assert steps == [*range(len(steps) - 1), 100]
    count = (100 - (len(steps) - 1)) + 1  # the steps that are missing, and the picture
    assert sum(one.count for one in lost) == count and {one.reason for one in lost} == {"File too large"}
    assert warnings[1:] == [f"{count} events of {tmp_path} were lost: File too large"]
    summary = summarize(tmp_path)
    assert (summary.status, summary.lost_events, summary.problem) == ("completed", count, None)


def test_a_disk_that_stays_full_is_said_at_the_end(tmp_path: Path, warnings: list[str]) -> None:
    logger = ExperimentLogger("p", run_dir=tmp_path, capture_console=False)
    with full_disk(0, tmp_path / "journal" / "000001.jsonl"):
        logger.log_training_step(loss=1.5, learning_rate=0.1, step=1)
        logger.log_checkpoint(None, None, 1, 1, 1.5, Path(__file__))
        logger.finish()
    assert warnings[-1].startswith("4 events of")
    assert len(read_run(tmp_path).records) == 1


def test_a_checkpoint_on_a_full_disk_keeps_the_last_good_one(tmp_path: Path, warnings: list[str]) -> None:
    torch = pytest.importorskip("torch")
    model, path = torch.nn.Linear(100, 100), tmp_path / "checkpoints" / "model.safetensors"
    with ExperimentLogger("p", run_dir=tmp_path) as logger:
        logger.log_checkpoint(model, None, 1, 1, 1.5, path)
        good = path.read_bytes()
        with full_disk(2000, tmp_path / "journal" / "000001.jsonl"):
            logger.log_checkpoint(model, None, 1, 2, 1.5, path)
    assert path.read_bytes() == good and [file.name for file in path.parent.iterdir()] == [path.name]
    assert "1 events of" in warnings[-1]


def test_a_file_is_whole_or_not_there(tmp_path: Path, warnings: list[str]) -> None:
    noise = [[(17 * x * y % 101) / 101 for x in range(200)] for y in range(200)]
    (tmp_path / "data.bin").write_bytes(bytes(10000))
    with ExperimentLogger("p", run_dir=tmp_path / "run") as logger:
        logger.log_image("picture", [[0.5]])
        picture = tmp_path / "run" / "pictures" / "picture.png"
        good = picture.read_bytes()
        with full_disk(2000, tmp_path / "run" / "journal" / "000001.jsonl"):
            logger.log_image("picture", noise)
            logger.log_artifact("data", tmp_path / "data.bin")
    assert picture.read_bytes() == good and list(picture.parent.iterdir()) == [picture]
    assert list((tmp_path / "run" / "artifacts").iterdir()) == []
    assert "2 events of" in warnings[-1]


def test_a_run_is_not_started_twice_but_resumed(tmp_path: Path) -> None:
    with (
        ExperimentLogger("p", run_dir=tmp_path) as first,
        pytest.raises(TrackError, match="a writer already"),
    ):
        ExperimentLogger("p", run_dir=first.run_dir)
    with pytest.raises(TrackError, match="holds a run already") as caught:
        ExperimentLogger("p", run_dir=tmp_path)
    assert f"stepwise resume {tmp_path}" in str(caught.value.hint)
    with ExperimentLogger("p", run_dir=tmp_path, resume_step=5) as logger:
        assert logger.run_dir == tmp_path
    assert summarize(tmp_path).status == "completed"
    assert {path.name for path in tmp_path.glob("environment*")} == {
        "environment.json",
        "environment-resumed-00000005.json",
    }


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for run_dir in (tmp_path / "file", None):
        with pytest.raises(TrackError, match=f"cannot write {tmp_path}/file") as caught:
            ExperimentLogger("p", run_dir=run_dir, runs_dir=tmp_path / "file")
        assert "\n" not in str(caught.value) and caught.value.exit_code == 1
    with full_disk(0), pytest.raises(TrackError, match=r"cannot write .*File too large"):
        ExperimentLogger("p", run_dir=tmp_path / "run")
    with ExperimentLogger("p", run_dir=tmp_path / "run"):
        pass  # the failed start left neither a lock nor half a journal
    assert summarize(tmp_path / "run").status == "completed"


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "/etc/passwd",
        "..",
        "../../up",
        "line\nbreak",
        "nul\0",
        "-rf",
        ".hidden",
        " ",
        "漢" * 300,
        "\ud800",
    ],
)
def test_a_hostile_name_stays_one_folder_within_the_runs(tmp_path: Path, name: str) -> None:
    runs_dir = tmp_path / "deep" / "runs"
    loggers = [ExperimentLogger("p", name, runs_dir=runs_dir) for _ in range(2)]
    for logger in loggers:
        logger.log_training_step(loss=1, learning_rate=1, step=1)
        logger.log_image(name, [[0.5]], step=1)
        logger.finish()
    assert {path.name for path in runs_dir.iterdir()} == {logger.run_dir.name for logger in loggers}
    assert [path.name for path in tmp_path.rglob("*") if path.parent == tmp_path] == ["deep"]
    assert all(one.name.isprintable() and one.name[0] not in "-." for one in loggers)
    assert [run.status for run in list_runs(runs_dir)] == ["completed"] * 2


def test_a_worker_that_is_forked_disturbs_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys; from stepwise_track import ExperimentLogger\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1]) as logger:\n"
        "    for _ in range(2):\n"
        "        if os.fork() == 0:\n"
        "            logger.log_training_step(loss=1, learning_rate=1, step=1)\n"
        "            logger.log_artifact('code', os.__file__)\n"
        "            print('said by the fork')\n"
        "            sys.exit()\n"
        "        os.wait()\n"
        "    logger.log_training_step(loss=2, learning_rate=1, step=2)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("is a fork of the one that logs the run") == 1
    journal = read_run(tmp_path)
    assert [event.step for record in journal.records if isinstance(event := record.event, Scalars)] == [2]
    assert not (tmp_path / "artifacts").exists()
    assert "said by the fork" in result.stdout
    assert "said by the fork" not in (tmp_path / "journal" / "000001.jsonl").read_text()
    assert summarize(tmp_path, journal).status == "completed"


def test_a_killed_run_died_and_a_living_one_is_running(tmp_path: Path) -> None:
    program = (
        "import sys, time; from stepwise_track import ExperimentLogger\n"
        "logger = ExperimentLogger('p', run_dir=sys.argv[1])\n"
        "logger.log_training_step(loss=1, learning_rate=1, step=1)\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    living = summarize(tmp_path)
    assert living.status == "running" and living.process and living.process.pid == process.pid
    with pytest.raises(TrackError, match="a writer already"):
        ExperimentLogger("p", run_dir=tmp_path, resume_step=0)
    process.kill()
    process.wait()
    assert summarize(tmp_path).status == "died"
    with ExperimentLogger("p", run_dir=tmp_path, resume_step=1):
        assert summarize(tmp_path).status == "running"
    assert summarize(tmp_path).status == "completed"


def test_the_environment_is_there_when_the_run_ends(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path):
        pass
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["command"]["directory"] == os.getcwd()
    assert found["packages"]["stepwise-track"]
