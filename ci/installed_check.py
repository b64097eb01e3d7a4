"""Run by `check_wheels.py` inside the clean environment: is what got installed ours, complete and coherent?

usage: python ci/installed_check.py PREFIX
"""

import importlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

DISTRIBUTIONS = ("stepwise-core", "stepwise-track", "stepwise-server", "stepwise-cli")


def foreign_modules(prefix: Path) -> list[str]:
    """Return a complaint for each of our modules that is not imported from below `prefix`."""
    complaints = []
    for name in DISTRIBUTIONS:
        file = importlib.import_module(name.replace("-", "_")).__file__
        if file is None or not Path(file).resolve().is_relative_to(prefix.resolve()):
            complaints.append(f"{name} is imported from {file}, not from the wheel in {prefix}")
    return complaints


def unmet_requirements(name: str) -> list[str]:
    """Return a complaint for each dependency of a distribution that is missing or of a wrong version."""
    complaints = []
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            complaints.append(f"{name} needs {requirement}, which is not installed")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            complaints.append(f"{name} needs {requirement}, and {found} is installed")
    return complaints


def broken_command(prefix: Path) -> list[str]:
    """Return a complaint if the installed `stepwise` script does not tell the installed version."""
    result = subprocess.run([prefix / "bin" / "stepwise", "--version"], capture_output=True, text=True)
    expected = f"stepwise {version('stepwise-cli')}\n"
    return [] if result.stdout == expected else [f"stepwise --version said {result.stdout + result.stderr!r}"]


if __name__ == "__main__":
    clean = Path(sys.argv[1])
    problems = foreign_modules(clean) + broken_command(clean)
    for dist in DISTRIBUTIONS:
        problems += unmet_requirements(dist)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)
