"""Disks that fill up and processes that are killed: the last good checkpoint stays, and nothing half-written."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny import Recorder, StopAt, assert_equal_checkpoints, resume, tiny_session, train, train_run

from stepwise_core.errors import CheckpointError
from stepwise_core.files import folder_written_atomically, replace_link, sha256_of, write_atomic
from stepwise_core.training.checkpoints import CheckpointStore, read_checkpoint
from stepwise_core.training.loop import Trainer


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 400 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk, and not everywhere")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [100, 20_000, 60_000], ids=["at once", "in the model", "in the optimiser"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, size: int) -> None:
    """The model takes 32 kB, the optimiser twice as much: the write fails at another place each time."""
    whole, _ = train_run(tmp_path, name="whole")
    session = tiny_session(tmp_path, "training.save_every=5")
    train(session, StopAt(5))
    checkpoints = session.folder.checkpoints
    before = {path: sha256_of(path) for path in checkpoints.rglob("*") if path.is_file()}
    recorder = Recorder()
    with largest_file(size), pytest.raises(CheckpointError) as caught:
        Trainer(session, [recorder]).run()
    message = str(caught.value)
    assert "step-00000006: " in message, "it failed somewhere else"
    assert "earlier checkpoints are intact" in message
    assert "\n" not in message
    assert caught.value.hint
    assert {path: sha256_of(path) for path in checkpoints.rglob("*") if path.is_file()} == before
    assert entries(checkpoints) == ["latest", "step-00000005"]
    resume(session.folder)
    assert_equal_checkpoints(whole, session.folder)


def test_a_full_disk_leaves_the_last_checkpoint(small_disk: Path) -> None:
    session = tiny_session(small_disk)
    train(session, StopAt(5))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb") as file:
        while True:
            file.write(b"0" * 4096)
            file.flush()
    with pytest.raises(CheckpointError, match=r"No space left on device.*earlier checkpoints are intact"):
        Trainer(session).run()
    assert entries(session.folder.checkpoints) == ["latest", "step-00000005"]
    assert read_checkpoint(session.folder.checkpoints / "latest").state.step == 5
    filler.unlink()
    resume(session.folder)
    assert read_checkpoint(session.folder.checkpoints / "latest").state.finished


KILLED = """
import sys
from pathlib import Path
import torch
from stepwise_core.training.checkpoints import CheckpointStore
from stepwise_core.training.state import Identity, TrainingState

model = torch.nn.Linear(400, 400)
optimizer = torch.optim.AdamW(model.parameters())
model(torch.ones(1, 400)).sum().backward()
optimizer.step()
store = CheckpointStore(Path(sys.argv[1]))
for step in range(1, 100_000):
    store.save(model, optimizer, TrainingState(step=step), Identity(), best=step % 3 == 0)
    if step == 3:
        print("saving", flush=True)
"""


def test_a_process_killed_while_saving_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    for attempt in range(2):
        folder = tmp_path / str(attempt)
        command = [sys.executable, "-c", KILLED, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "saving\n"
            time.sleep(0.05 + 0.0137 * attempt)
            process.send_signal(signal.SIGKILL)
        latest = read_checkpoint(folder / "latest")
        assert latest.state.step >= 3
        assert read_checkpoint(folder / "best").state.step % 3 == 0
        newest = CheckpointStore(folder).kept()[-1]
        assert read_checkpoint(newest).state.step - latest.state.step in (0, 1)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_atomic(path, "old")
    with largest_file(1_000), pytest.raises(OSError, match="too large"):
        write_atomic(path, "new" * 1_000)
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["config.json"]
    write_atomic(path, "new €\n")
    assert path.read_bytes() == "new €\n".encode()


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    """Temporary files are private; what takes their place is not."""
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", "text")
        with folder_written_atomically(tmp_path / "folder") as folder:
            (folder / "inside").write_text("text")
        assert os.umask(0o027) == 0o027, "the umask was changed"
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "step"
    with pytest.raises(ZeroDivisionError), folder_written_atomically(path) as folder:
        (folder / "file").write_text("half")
        assert not path.exists()
        raise ZeroDivisionError
    assert entries(tmp_path) == []
    for content in ("old", "new"):
        with folder_written_atomically(path) as folder:
            (folder / content).write_text(content)
    assert entries(tmp_path) == ["step"]
    assert entries(path) == ["new"]


def test_a_link_is_moved_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        replace_link(tmp_path / "latest", name)
        assert (tmp_path / "latest").readlink() == Path(name)
    assert entries(tmp_path) == ["a", "b", "latest"]
