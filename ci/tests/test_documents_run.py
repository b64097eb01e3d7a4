"""Every `stepwise` command and every Python block of the README, the docs and the packages' READMEs really runs."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands_in_documents import BLOCK, SHELL, commands
from house import ROOT, files

from stepwise_server.ops.folder import find_running

BRIEF = {
    # The environment is stronger than a configuration file: the documented commands stay as they are, but small.
    "STEPWISE_TRAINING__MAX_STEPS": "6",
    "STEPWISE_DATA__N_TRAIN": "400",
    "STEPWISE_DATA__N_VALID": "20",
    "STEPWISE_DATA__N_TEST": "20",
    "STEPWISE_MODEL__D_MODEL": "16",
    "STEPWISE_MODEL__N_HEADS": "2",
    "STEPWISE_MODEL__N_LAYERS": "1",
    "STEPWISE_TOKENIZER__VOCAB_SIZE": "200",
    "OMP_NUM_THREADS": "1",
}
DOCUMENTS = [
    path for path in files("*.md") if {"sh", "python"} & set(re.findall(r"^```(\w+)", path.read_text(), re.M))
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with what the documents take for granted: a finished run, and a small Multi30k."""
    folder = tmp_path / "data" / "multi30k"
    folder.mkdir(parents=True)
    for number, split in enumerate(("train", "val", "test_2016_flickr")):
        for language, words in (("en", "a dog runs in the snow"), ("de", "ein Hund läuft im Schnee")):
            lines = [f"{words} {number} {line} {'xyz'[line % 3]}" for line in range(40)]
            (folder / f"{split}.{language}.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    run(["train", "dates", "--run-name", "demo"], tmp_path)
    yield tmp_path
    if find_running(tmp_path / "server"):  # a document started one
        run(["server", "stop"], tmp_path)


def run(words: list[str], folder: Path) -> None:
    # --set beats the environment; `verify` and the like take their number of steps from an option of their own.
    words = [*words, "--steps", "12"] if words[0] == "verify" else words
    done = subprocess.run(
        [sys.executable, "-m", "stepwise_cli", *words],
        cwd=folder,
        env={
            **os.environ,
            **BRIEF,
            "STEPWISE_SERVER_DIR": str(folder / "server"),  # not those of the person who runs the tests
            "STEPWISE_DATA_DIR": str(folder / "store"),
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"stepwise {' '.join(words)}\n{done.stdout}{done.stderr}"


def shell_commands(document: Path) -> list[list[str]]:
    blocks = [block[0] for block in BLOCK.finditer(document.read_text()) if block[2] in SHELL]
    found = commands("\n".join(blocks))
    return [command.words[1:] for command in found if command.words[0] == "stepwise"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_commands_run(document: Path, place: Path) -> None:
    for words in shell_commands(document):
        run(words, place)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_python_runs(document: Path, tmp_path: Path) -> None:
    for block in BLOCK.finditer(document.read_text()):
        if block[2] == "python":
            code = "\n".join(
                line.removeprefix(">>> ") for line in block[3].splitlines() if _is_code(line, block[3])
            )
            done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{code}\n{done.stderr}"
            shown = [line for line in block[3].splitlines() if not _is_code(line, block[3])]
            assert [line for line in shown if line] == ([] if not shown else done.stdout.splitlines())


def _is_code(line: str, block: str) -> bool:
    """In a block with prompts the lines without one are output; in other blocks everything is code."""
    return line.startswith(">>> ") or ">>> " not in block
