"""What every user meets first: help, version, wrong names, and how quickly the command answers."""

import json
import os
import subprocess
import sys

import pytest

from stepwise_cli import __version__
from stepwise_cli.main import COMMANDS, load_command, main

HEAVY = ("torch", "numpy", "matplotlib", "rich", "pydantic", "tokenizers", "sacrebleu", "babel")

PROBE = """
import json, sys
from stepwise_cli.main import main
code = main(sys.argv[1:])
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


def run_stepwise(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepwise_cli", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def loaded_by(*arguments: str) -> set[str]:
    """Run `stepwise` with the arguments and return every module that it loaded."""
    result = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True)
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["code"] == 0, result.stderr
    return set(report["modules"])


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_nothing_heavy_is_imported_before_a_command_runs(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert not loaded.intersection(HEAVY)
    assert not {name for name in loaded if name.startswith(("stepwise_core", "stepwise_cli.commands."))}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_does_not_wait_for_torch(name: str) -> None:
    assert not loaded_by(name, "--help").intersection({"torch", "matplotlib"})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists_under_its_name(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.help, "a command without a docstring has no help"


def test_help_lists_the_commands_in_the_order_of_the_table() -> None:
    output = run_stepwise("--help").stdout
    section = output[output.index("Commands:") :].splitlines()[1:]
    assert [line.split()[0] for line in section[: len(COMMANDS)]] == list(COMMANDS)


def test_version_is_the_installed_one() -> None:
    assert run_stepwise("--version").stdout == f"stepwise {__version__}\n"


def test_unknown_command_is_answered_with_the_nearest_one() -> None:
    result = run_stepwise("evalaute")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error: No such command 'evalaute'. Did you mean 'evaluate'?",
        "  next: stepwise --help",
    ]


def test_unknown_option_names_the_command_whose_help_to_read() -> None:
    result = run_stepwise("runs", "list", "--jsn")
    assert result.returncode == 2
    assert "--jsn" in result.stderr
    assert "  next: stepwise runs list --help" in result.stderr.splitlines()


def test_without_a_command_the_help_is_shown() -> None:
    result = run_stepwise()
    assert result.returncode == 2
    assert "Commands:" in result.stderr


def test_completion_offers_command_names_without_importing_them() -> None:
    completion = {"_STEPWISE_COMPLETE": "bash_complete", "COMP_WORDS": "stepwise res", "COMP_CWORD": "1"}
    assert run_stepwise(**completion).stdout.split() == ["plain,resume"]


def test_main_returns_the_code_instead_of_leaving(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["no-such-command"]) == 2
    assert capsys.readouterr().out == f"stepwise {__version__}\n"
