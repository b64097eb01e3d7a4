"""One version everywhere, and a pin for everything that gets installed."""

import re
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from house import PACKAGES, ROOT, project
from packaging.requirements import Requirement

import set_version

VERSION = (ROOT / "VERSION").read_text().strip()


def test_every_package_has_the_version_of_the_house() -> None:
    assert {name: project(name)["version"] for name in PACKAGES} == dict.fromkeys(PACKAGES, VERSION)


def test_siblings_are_pinned_to_this_version() -> None:
    pins = [line for line in project("cli")["dependencies"] if line.startswith("stepwise-")]
    assert pins == [f"stepwise-{name}=={VERSION}" for name in ("core", "server", "track[clearml]")]


def test_what_is_installed_is_this_version() -> None:
    installed = {name: version(f"stepwise-{name}") for name in PACKAGES}
    assert installed == dict.fromkeys(PACKAGES, VERSION), "run `make venv` after a change of version"


def test_the_changelog_knows_the_version() -> None:
    assert re.search(rf"^## .*{re.escape(VERSION)}", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonical(name): pinned for name, pinned in pairs}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> set[str]:
    """Return all that `make venv` installs: our dependencies, the tools, and what these need in turn."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["dependency-groups"]
    lines = [line for group in groups.values() for line in group]
    queue = [Requirement(line) for line in lines]
    queue += [Requirement(line) for name in PACKAGES for line in project(name)["dependencies"]]
    found: set[str] = set()
    seen: set[str] = set()
    while queue:
        requirement = queue.pop()
        name = canonical(requirement.name)
        if name.startswith("stepwise-") or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        found.add(name)
        try:
            further = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:
            continue  # the comparison with the pins will name it
        queue += [each for each in further if applies(each, requirement.extras)]
    return found


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Tell whether a requirement counts on this machine, for a package asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})


def test_constraints_pin_exactly_what_is_installed() -> None:
    # The CUDA builds of torch bring libraries that torch itself pins; nvidia-ml-py is ours.
    cuda = {name for name in needed() - {"nvidia-ml-py"} if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert set(pins()) == needed() - cuda


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the files that carry the version."""
    shutil.copy(ROOT / "VERSION", tmp_path)
    for name in PACKAGES:
        package = tmp_path / "packages" / f"stepwise-{name}"
        package.mkdir(parents=True)
        shutil.copy(ROOT / "packages" / package.name / "pyproject.toml", package)
    return tmp_path


def texts(root: Path) -> list[str]:
    return [path.read_text() for path in sorted([root / "VERSION", *root.glob("packages/*/pyproject.toml")])]


def test_set_version_changes_every_place_and_nothing_else(copy: Path) -> None:
    before = texts(copy)
    set_version.main(["9.8.7"], root=copy)
    after = texts(copy)
    assert "\n".join(after).count("9.8.7") == 1 + len(PACKAGES) + 3  # VERSION, projects, pins
    set_version.main([VERSION], root=copy)
    assert texts(copy) == before


def test_set_version_dry_run_writes_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = texts(copy)
    set_version.main(["9.8.7", "--dry-run"], root=copy)
    assert texts(copy) == before
    assert 'packages/stepwise-cli/pyproject.toml: "stepwise-core==' in capsys.readouterr().out


def test_set_version_refuses_what_is_no_version(copy: Path) -> None:
    before = texts(copy)
    with pytest.raises(SystemExit) as stop:
        set_version.main(["next"], root=copy)
    assert stop.value.code == 2
    assert texts(copy) == before
