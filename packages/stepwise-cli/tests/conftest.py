"""What the tests of the training commands share: one tiny configuration, and one run trained with it."""

import os
import shutil
from pathlib import Path

import pytest
from tiny_command import TINY, Fails

from stepwise_cli.console import console, error_console
from stepwise_cli.main import main

os.environ["STEPWISE_BACKENDS"] = ""  # no test reports to a server that happens to run on this machine


@pytest.fixture(autouse=True)
def wide_consoles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test new consoles, as wide as for a pipe: pytest-xdist tells its workers of 80 columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
    console.cache_clear()
    error_console.cache_clear()


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "tiny.yaml"
    file.write_text(TINY)
    return file


@pytest.fixture(scope="session")
def trained(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, as `stepwise train` left it; to be read, not changed."""
    runs_dir = tmp_path_factory.mktemp("trained")
    assert main(["train", str(tiny_config), "--runs-dir", str(runs_dir), "--run-name", "tiny"]) == 0
    return runs_dir / "tiny"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, in a folder of runs of its own; to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "tiny", symlinks=True))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Return a function that runs a command which is to fail, and returns its one line of explanation."""

    def run_failing(code: int, *arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        err = capsys.readouterr().err
        assert "Traceback" not in err
        explanation = err[err.index("error: ") :]
        *lines, hint = explanation.splitlines()
        assert hint.startswith("  next: "), "no next command"
        assert lines[0].startswith("error: ")
        assert all(line.startswith(("  ", "error: ")) for line in lines)
        return explanation

    return run_failing
