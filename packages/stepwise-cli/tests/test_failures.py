"""Every way to fail: its exit code, its line, its next command, and what it does not show."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from stepwise_cli import versions
from stepwise_cli.main import main, stepwise
from stepwise_core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    Interrupted,
    RunError,
    StepwiseError,
)

Fail = Callable[[BaseException], int]


@pytest.fixture
def fail() -> Iterator[Fail]:
    """Return a function that runs a command which raises what it is given, and returns the exit code."""

    def run(error: BaseException) -> int:
        @stepwise.command("fail")
        def command() -> None:
            raise error

        return main(["fail"])

    yield run
    stepwise.commands.pop("fail", None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StepwiseError("no"), 1),
        (RunError("no"), 1),
        (CheckpointError("no"), 1),
        (click.UsageError("no"), 2),
        (ConfigError("no"), 3),
        (DataError("no"), 6),
        (DivergedError("no"), 7),
        (Interrupted("no"), 130),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "runs/a"), 1),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_exit_code(fail: Fail, error: BaseException, code: int) -> None:
    assert fail(error) == code


def test_an_explained_error_is_one_line_and_the_next_command(
    fail: Fail, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(DataError("no line in train.de", hint="stepwise data prepare"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no line in train.de\n  next: stepwise data prepare\n"


def test_each_mistake_of_several_has_its_line(fail: Fail, capsys: pytest.CaptureFixture[str]) -> None:
    fail(ConfigError("model.d_model: 'x' is no number\n  did you mean 4?\ntraining.epochs: -1"))
    assert capsys.readouterr().err.splitlines() == [
        "error: model.d_model: 'x' is no number",
        "  did you mean 4?",
        "error: training.epochs: -1",
    ]


def test_a_full_disk_names_the_place_and_the_remedy(fail: Fail, capsys: pytest.CaptureFixture[str]) -> None:
    fail(OSError(errno.ENOSPC, "No space left on device", "runs/a/journal"))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: no space left on device: runs/a/journal"
    assert second.startswith("  next: free some space")


def test_a_bug_keeps_its_traceback(fail: Fail, capsys: pytest.CaptureFixture[str]) -> None:
    fail(ValueError("a bug"))
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ValueError: a bug" in err
    assert "report it" in err


def test_stepwise_debug_adds_the_traceback_to_an_explained_error(
    fail: Fail, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(DataError("empty file"))
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("STEPWISE_DEBUG", "1")
    assert fail(DataError("empty file")) == 6
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: empty file\n")


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    command = [sys.executable, "-m", "stepwise_cli", "--help"]
    result = subprocess.run(command, stdout=writing_end, stderr=subprocess.PIPE, text=True)
    os.close(writing_end)
    assert (result.returncode, result.stderr) == (1, "")


def test_ctrl_c_ends_the_process_with_130() -> None:
    program = (
        "import sys, time\n"
        "from stepwise_cli.main import main, stepwise\n"
        "@stepwise.command('wait')\n"
        "def wait() -> None:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "sys.exit(main(['wait']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("installed", ["0.0.1", None])
def test_a_mixed_installation_is_refused_in_words(
    fail: Fail,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    installed: str | None,
) -> None:
    monkeypatch.setattr(
        versions, "installed_versions", lambda: {"stepwise-core": installed, "stepwise-track": "0.1.0"}
    )
    monkeypatch.setattr(versions, "__version__", "0.1.0")
    assert fail(ValueError("never reached")) == 1
    err = capsys.readouterr().err
    assert f"error: stepwise-core {installed or 'is missing'} stands next to stepwise-cli 0.1.0" in err
    assert "  next: python -m pip install stepwise-cli==" in err
    assert "stepwise-track" not in err


def test_the_installed_siblings_have_one_version() -> None:
    versions.require_same_versions()


@pytest.mark.parametrize(("variable", "coloured"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_tables_honour_the_colour_variables(variable: str, coloured: bool) -> None:
    program = "from stepwise_cli.console import console; console().print('[bold red]loss[/]')"
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**plain, "TERM": "xterm-256color", variable: "1"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ("\x1b[" in result.stdout) is coloured
    assert "loss" in result.stdout
