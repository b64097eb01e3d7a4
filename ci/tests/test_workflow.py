"""What runs where: one script for every CI, tests for every package, and a make that keeps what is dear."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from house import PACKAGES, ROOT


def run(*command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_workflow_runs_the_script_that_runs_everything() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert steps == [".ci/run"]
    script = (ROOT / ".ci/run").read_text()
    phases = ["make venv", 'make demo DEMO_ARGS="--smoke"', "make test"]
    assert re.findall(r"^phase (make .*)", script, re.MULTILINE) == phases


def test_tox_runs_the_tests_of_every_package() -> None:
    environments = run(".venv/bin/tox", "list", "--no-desc", folder=ROOT).stdout.split()
    assert {f"py311-test-{name}" for name in PACKAGES} <= set(environments)


def test_make_alone_lists_every_target() -> None:
    targets = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    output = run("make", folder=ROOT).stdout
    assert re.findall(r"^  make (\S+) +\S", output, re.MULTILINE) == targets


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what `make venv` and `make clean` need into an empty folder with a run in it."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "ci").mkdir()
    (tmp_path / "bench").mkdir()
    for name in ("make_venv.sh", "agent-requirements.txt"):
        shutil.copy(ROOT / "ci" / name, tmp_path / "ci")
    shutil.copytree(ROOT / "packages", tmp_path / "packages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("target", ["clean", "distclean"])
def test_cleaning_never_touches_runs(copy: Path, target: str) -> None:
    (copy / "dist").mkdir()
    assert run("make", target, folder=copy).returncode == 0
    assert (copy / "runs/mine/config.json").read_text() == "{}"
    assert not (copy / "dist").exists()


def test_a_python_that_is_too_old_is_refused_with_the_way_out(copy: Path) -> None:
    old = copy / "old-python"
    old.write_text("#!/bin/sh\necho 3.9\nexit 1\n")
    old.chmod(0o755)
    result = run("make", "demo", f"PYTHON={old}", folder=copy)
    assert result.returncode != 0
    first, second = result.stderr.splitlines()[:2]
    assert first == f"error: stepwise needs Python 3.11 or newer, and {old} is 3.9"
    assert second.startswith("  next: make demo PYTHON=python3.11")
    assert not (copy / ".venv").exists()


def test_an_installation_that_fails_is_not_taken_for_a_finished_one(copy: Path) -> None:
    arguments = "PIP_ARGS=--no-index --find-links=nowhere"
    for _ in range(2):
        result = run("make", "venv", arguments, folder=copy, PIP_FIND_LINKS="")
        assert result.returncode != 0
        assert re.search("ERROR: .*(editables|hatchling)", result.stderr)
        assert not (copy / ".venv/.stepwise-installed").exists()
