"""Versions of data: the local store on its own, the commands, and ClearML's `Dataset` on a real server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_corpus import parallel
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.data.store import DataStore
from stepwise_core.errors import DataError
from stepwise_server.testing import LocalServer

HASH = "0123456789abcdef"
SMALL = ("--set", "data.n_train=50", "--set", "data.n_valid=5", "--set", "data.n_test=5")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with a store of its own, and no server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEPWISE_DATA_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("STEPWISE_SERVER_DIR", str(tmp_path / "no server"))
    for name in [name for name in os.environ if name.startswith("CLEARML_")]:
        monkeypatch.delenv(name)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that is to succeed, and return what it printed."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def versions(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(capsys, "data", "versions", "--json", *words))
    return found


NAMES = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters=" -_.'%"), min_size=1, max_size=12
)
TREES = st.dictionaries(
    st.lists(NAMES.filter(lambda name: name.strip(".") != ""), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=300),
    max_size=6,
).filter(lambda tree: not any(other.startswith(f"{path}/") for path in tree for other in tree))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(trees=st.lists(TREES, min_size=1, max_size=3))
def test_any_tree_of_files_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, trees: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    store = DataStore(folder / "store")
    for number, tree in enumerate(trees):
        files = {}
        for place, (path, content) in enumerate(tree.items()):
            files[path] = folder / f"{number}-{place}"
            files[path].write_bytes(content)
        version = store.push("a tree", f"{number:016x}", files, {})
        assert version.number == f"1.0.{number}"
        store.checkout(version, folder / f"out-{number}")
        found = {
            path.relative_to(folder / f"out-{number}").as_posix(): path.read_bytes()
            for path in (folder / f"out-{number}").rglob("*")
            if path.is_file()
        }
        assert found == tree
    contents = {content for tree in trees for content in tree.values()}
    assert len([path for path in (folder / "store" / "objects").rglob("*") if path.is_file()]) == len(
        contents
    )
    assert [version.number for version in store.versions("a tree")] == [f"1.0.{n}" for n in range(len(trees))]


@pytest.mark.parametrize(
    "path", ["../out", "/etc/passwd", "a/../../b", "a//b", "", ".", "a\\b", "C:x", "a\nb", "a/./b", "x\0y"]
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("content")
    store = DataStore()
    with pytest.raises(DataError, match="no path of a file"):
        store.push("name", HASH, {path: tmp_path / "file"}, {})
    assert store.versions() == []
    good = store.push("name", HASH, {"good": tmp_path / "file"}, {})
    manifest = next((store.folder / "versions").rglob("*.json"))
    forged = json.loads(manifest.read_text())
    forged["files"] = {path: forged["files"]["good"]}
    manifest.write_text(json.dumps(forged))
    with pytest.raises(DataError, match="not a manifest"):
        store.find(HASH)
    assert good.files.keys() == {"good"}


@pytest.mark.parametrize("name", ["../../evil", "a/b", "ünï cødé", "100%", "...", "-n", "*", "x" * 60])
def test_names_of_datasets_stay_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("content")
    store = DataStore()
    store.push(name, HASH, {"file": tmp_path / "file"}, {})
    assert [each.name for each in store.versions()] == [each.name for each in store.versions(name)] == [name]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("file", "store")] == []
    for bad in ("", ".", "..", "a\nb"):
        with pytest.raises(DataError, match="no name of a dataset"):
            store.push(bad, HASH, {"file": tmp_path / "file"}, {})


def test_a_damaged_object_is_noticed_and_healed_by_pushing_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    store = DataStore()
    version = store.push("name", HASH, {"file": tmp_path / "file"}, {})
    store.file(version, "file").write_text("Content")
    with pytest.raises(DataError, match="is damaged or gone"):
        store.checkout(version, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]
    store.push("name", "f" * 16, {"file": tmp_path / "file"}, {})
    store.checkout(version, tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "content"
    with pytest.raises(DataError, match="is there already"):
        store.checkout(version, tmp_path / "out")


PUSH = """
import sys
from pathlib import Path
from stepwise_core.data.store import DataStore

print("begins", flush=True)
DataStore().push("big", "0" * 16, {f"{n}": Path(sys.argv[1]) / f"{n}" for n in range(40)}, {})
"""


def test_a_push_that_is_killed_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(40):
        (tmp_path / "files" / f"{number}").write_bytes(os.urandom(2**19))
    store = DataStore()
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        process = subprocess.Popen(
            [sys.executable, "-c", PUSH, str(tmp_path / "files")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "begins\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for version in store.versions():  # whole, if it was that quick
            store.checkout(version, tmp_path / f"out-{delay}")
    done = subprocess.run([sys.executable, "-c", PUSH, str(tmp_path / "files")], capture_output=True)
    assert done.returncode == 0, done.stderr
    [version] = store.versions()
    store.checkout(version, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 40
    assert not (store.folder / "incoming").exists()
    assert len([path for path in (store.folder / "objects").rglob("*") if path.is_file()]) == 40


def test_files_that_are_gone_come_from_the_store(
    place: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    config = parallel(place)
    shown = said(capsys, "data", "push", config)
    assert "corpus-en-de 1.0.0" in shown
    [version] = versions(capsys)
    assert (version["number"], version["where"]) == ("1.0.0", ["here"])
    assert said(capsys, "data", "push", config).splitlines()[0] == shown.splitlines()[0], "the same version"
    (place / "corpus").rename(place / "elsewhere")
    for wanted in (version["hash"], "1.0.0"):
        said(
            capsys,
            "train",
            config,
            "--set",
            f"data.version={wanted}",
            "--run-name",
            f"run-{wanted}",
            "--no-evaluate",
        )
        stored = json.loads((place / "runs" / f"run-{wanted}" / "config.json").read_text())
        assert stored["data"]["parallel"]["train_source"] == "corpus/train.en.gz"
    facts = json.loads(said(capsys, "runs", "show", "run-1.0.0", "--json"))
    assert facts["parameters"]["dataset.version"] == version["hash"]
    assert facts["parameters"]["dataset.name"] == "corpus-en-de"
    assert "no such file" in fails(6, "train", config, "--run-name", "no-version")
    said(capsys, "data", "pull", "1.0.0", "-o", place / "corpus")
    assert (place / "corpus" / "train.en.gz").read_bytes() == (
        place / "elsewhere" / "train.en.gz"
    ).read_bytes()


def test_other_data_is_not_taken_for_the_version(
    place: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    config = parallel(place)
    said(capsys, "data", "push", config)
    parallel(place, word="hare")
    message = fails(6, "train", config, "--set", "data.version=1.0.0")
    assert "the data of corpus-en-de is version" in message and "stepwise data versions" in message
    assert "corpus-en-de 1.0.1" in said(capsys, "data", "push", config)
    said(capsys, "data", "show", config, "--set", "data.version=1.0.1")
    assert "is another version already" in fails(
        6, "data", "push", parallel(place, word="hedgehog"), "--number", "1.0.1"
    )
    assert "not in the store" in fails(6, "train", config, "--set", "data.version=3.0.0")
    assert "not in the store" in fails(6, "data", "pull", "f" * 16)
    assert "data.version = 'latest'" in fails(3, "train", config, "--set", "data.version=latest")


def test_made_data_has_versions_too(capsys: pytest.CaptureFixture[str], fails: Fails, place: Path) -> None:
    said(capsys, "data", "push", "dates", *SMALL, "--number", "2.0.0")
    [version] = versions(capsys, "--name", "dates")
    said(capsys, "data", "show", "dates", *SMALL, "--set", f"data.version={version['hash']}", "--json")
    message = fails(6, "data", "show", "dates", *SMALL, "--set", "data.version=2.0.0", "--set", "data.seed=1")
    assert f"asks for 2.0.0 ({version['hash']})" in message
    said(capsys, "data", "pull", version["hash"], "--output", place / "out")
    assert len((place / "out" / "train.source").read_text().splitlines()) == 50
    said(capsys, "data", "push", "copy", *SMALL, "--number", "2.0.0")
    assert "is one of several datasets: copy, dates" in fails(6, "data", "pull", "2.0.0")
    said(capsys, "data", "pull", "2.0.0", "--name", "copy")


@pytest.mark.parametrize("text", ["1234567890123456", "12e4567890123456", "1.0.0", "0123456789abcdef"])
def test_a_hash_of_digits_stays_one(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "config", "show", "dates", "--json", "--set", f"data.version={text}")
    assert json.loads(shown)["data"]["version"] == text


@pytest.fixture
def server(place: Path) -> Iterator[LocalServer]:
    with LocalServer(place / "server") as running:
        yield running


class Machine:
    """A machine with a home, a store and a cache of its own, and one ClearML server: the SDK knows one per process."""

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._environment = {
            **server.environment,
            "HOME": str(folder),
            "STEPWISE_DATA_DIR": str(folder / "store"),
            "CLEARML_CACHE_DIR": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words: object) -> "subprocess.Popen[bytes]":
        """Start a command in a group of its own."""
        command = [sys.executable, "-m", "stepwise_cli", *map(str, words)]
        return subprocess.Popen(
            command, cwd=self.folder, env=self._environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *command: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=100,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def stepwise(self, *words: object) -> str:
        """Run a command that is to succeed, and return what it printed."""
        done = self.run("-m", "stepwise_cli", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_version_reaches_another_machine_through_clearml(server: LocalServer, place: Path) -> None:
    here, there = Machine(server, place / "here"), Machine(server, place / "there")
    config = parallel(here.folder)
    (there.folder / "mine.json").write_text(config.read_text())
    shown = here.stepwise("data", "push", config)
    assert "ClearML sent" in shown and "Uploading" not in shown
    assert "has it already" in here.stepwise("data", "push", config)
    [version] = json.loads(here.stepwise("data", "versions", "--json"))
    assert version["where"] == ["here", "ClearML"]
    [dataset] = [task for task in server.tasks() if "dataset" in task["system_tags"]]
    assert (dataset["status"], dataset["runtime"]["version"]) == ("completed", "1.0.0")
    wanted = f"data.version={version['hash']}"
    there.stepwise(
        "train", "mine.json", "--set", wanted, "--run-name", "x", "--track", "none", "--no-evaluate"
    )
    there.stepwise("data", "pull", "1.0.0", "-o", "out")
    for file in (here.folder / "corpus").iterdir():
        assert (there.folder / "out" / file.name).read_bytes() == file.read_bytes()
    assert not (there.folder / "out" / "stepwise-version.json").exists()
    parallel(here.folder, word="hare")
    assert "1.0.1" in here.stepwise("data", "push", config, "--local").splitlines()[0]
    listed = json.loads(here.stepwise("data", "versions", "--json"))
    assert [each["where"] for each in listed] == [["here", "ClearML"], ["here"]]
    done = there.run("-m", "stepwise_cli", "data", "pull", "9.9.9")
    assert done.returncode == 6 and "neither here nor on the ClearML server" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_push_to_the_server_that_is_killed_can_be_done_again(server: LocalServer, place: Path) -> None:
    here, there = Machine(server, place / "here"), Machine(server, place / "there")
    config = parallel(here.folder)
    pushing = here.start("data", "push", config)
    while not any("dataset" in task["system_tags"] for task in server.tasks()):
        assert pushing.poll() is None
        time.sleep(0.01)
    os.killpg(pushing.pid, signal.SIGKILL)
    pushing.wait()
    [half] = [task for task in server.tasks() if "dataset" in task["system_tags"]]
    assert half["status"] != "completed", "it was too quick"
    [version] = json.loads(here.stepwise("data", "versions", "--json"))
    assert version["where"] == ["here"]
    assert "ClearML sent" in here.stepwise("data", "push", config)
    there.stepwise("data", "pull", version["hash"], "-o", "out")
    assert len(list((there.folder / "out").iterdir())) == 6


FORGE = """
from pathlib import Path
from clearml import Dataset
from stepwise_core.data.store import DataStore

[version] = DataStore().versions()
DataStore().checkout(version, Path("forged"))
Path("forged/train.en.gz").write_bytes(b"something else")
forged = version.model_copy(update={"hash": "f" * 16})
Path("forged/stepwise-version.json").write_text(forged.model_dump_json())
dataset = Dataset.create("forged", "team", dataset_tags=["stepwise-data-" + "f" * 16], dataset_version="7.0.0")
dataset.add_files("forged")
dataset.upload(show_progress=False)
dataset.finalize()
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_altered_file_on_the_server_is_refused(server: LocalServer, place: Path) -> None:
    here, there = Machine(server, place / "here"), Machine(server, place / "there")
    here.stepwise("data", "push", parallel(here.folder), "--local")
    forged = here.run("-c", FORGE)
    assert forged.returncode == 0, forged.stderr
    done = there.run("-m", "stepwise_cli", "data", "pull", "f" * 16)
    assert done.returncode == 6
    assert "train.en.gz was altered" in done.stderr and "Traceback" not in done.stderr
    assert not list((there.folder / "store").rglob("*.json"))
