"""The import rule: who may import whom, what may be heavy, and that nothing undeclared is used."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from house import OURS, PACKAGES, ROOT, files, imports, listing, project, source
from packaging.requirements import Requirement

HEAVY_FOR_CLI = {"torch", "numpy", "matplotlib", "rich", "pydantic", "tokenizers", "sacrebleu", "babel"}
HEAVY_ROOM = source("cli") / "training"  # loaded by a command that is about to train, never before
LOADED_BY_OTHERS = {
    "httptools",
    "plotly",
}  # uvicorn finds its parser by name; the page uses Plotly's JavaScript
CORE_WITHOUT_TORCH = ("__init__.py", "errors.py", "config/*.py")


def complaint(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {text}"


@pytest.mark.parametrize("package", ["core", "track", "server"])
def test_only_the_cli_imports_its_siblings(package: str) -> None:
    siblings = OURS - {f"stepwise_{package}"}
    found = [
        complaint(path, found.line, f"imports {found.module}")
        for path in files("*.py", str(source(package)))
        for found in imports(path)
        if found.top in siblings
    ]
    assert not found, listing(found)


def test_only_core_imports_torch_when_loaded() -> None:
    found = [
        complaint(path, found.line, "imports torch at module level")
        for package in ("track", "server", "cli")
        for path in files("*.py", str(source(package)))
        for found in imports(path)
        if found.at_load and found.top == "torch"
    ]
    assert not found, listing(found)


def test_cli_modules_load_nothing_heavy() -> None:
    found = [
        complaint(path, found.line, f"imports {found.module} at module level")
        for path in files("*.py", str(source("cli")))
        if HEAVY_ROOM not in path.parents
        for found in imports(path)
        if found.at_load and (found.top in HEAVY_FOR_CLI or found.module.startswith("stepwise_cli.training"))
    ]
    assert not found, listing(found)


def test_errors_and_configuration_of_core_load_without_torch() -> None:
    found = [
        complaint(path, found.line, f"imports {found.module} at module level")
        for pattern in CORE_WITHOUT_TORCH
        for path in source("core").glob(pattern)
        for found in imports(path)
        if found.at_load and found.top in {"torch", "numpy", "matplotlib"}
    ]
    assert not found, listing(found)


@pytest.mark.parametrize(
    "module",
    ["stepwise_core", "stepwise_core.errors", "stepwise_core.config", "stepwise_track", "stepwise_server"],
)
def test_importing_it_really_loads_no_torch(module: str) -> None:
    program = f"import sys, {module}; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def third_party(package: str) -> dict[str, str]:
    """Map each third-party distribution that a package imports to one place where it does."""
    distributions = packages_distributions()
    used = {}
    for path in files("*.py", str(source(package))):
        for found in imports(path):
            if found.top in sys.stdlib_module_names or found.top == f"stepwise_{package}":
                continue
            names = distributions.get(found.top, [found.top])
            used[normal(names[0])] = complaint(path, found.line, f"imports {found.module}")
    return used


def declared(package: str) -> tuple[set[str], set[str]]:
    """Return the distributions that a package needs, and those that its extras add."""
    table = project(package)
    extras = [line for lines in table.get("optional-dependencies", {}).values() for line in lines]
    return {names_of(line) for line in table["dependencies"]}, {names_of(line) for line in extras}


def names_of(requirement: str) -> str:
    return normal(Requirement(requirement).name)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_declared(package: str) -> None:
    needed, extra = declared(package)
    undeclared = [place for name, place in third_party(package).items() if name not in needed | extra]
    assert not undeclared, "each package must work where only its own dependencies are installed" + listing(
        undeclared
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_dependency_is_imported(package: str) -> None:
    needed, _ = declared(package)
    ours = {f"stepwise-{name}" for name in PACKAGES}
    unused = needed - set(third_party(package)) - ours - LOADED_BY_OTHERS
    assert unused == set(), "a dependency that nothing imports is a download for nothing"
