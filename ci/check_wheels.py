"""Build the wheels, install them into a clean environment, and run the packages' tests against them there.

The clean environment holds the four wheels and nothing else. Third-party packages are lent to it from the
project's environment by a path entry, so that torch is neither downloaded nor copied a second time. Python
does not follow path entries inside a path entry: the editable installations, which are such, stay invisible
(`installed_check.py` asserts it).

usage: python ci/check_wheels.py [--slow] [pytest arguments…]
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

from build_wheels import PACKAGES, ROOT, build_wheels

INSTALLED_CHECK = Path(__file__).with_name("installed_check.py")


def missing_from_wheel(wheel: Path) -> list[str]:
    """Return what the source folder or a release has (modules, configs, LICENSE) and the wheel lacks."""
    module = wheel.name.split("-")[0]
    source = ROOT / "packages" / module.replace("_", "-") / "src"
    files = (path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.relative_to(source).as_posix() for path in files} | {f"{module}/py.typed"}
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = sorted(wanted - names)
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        missing.append("LICENSE")
    return missing


def make_clean_environment(folder: Path, wheels: list[Path]) -> Path:
    """Create an environment of our wheels, lend it the third-party packages, and return its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip_install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python),
        "install",
    ]
    options = ["--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip_install, *options, *map(str, wheels)], check=True)
    site_packages = next(folder.glob("lib/python*/site-packages"))
    lent = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site_packages / "lent_third_party.pth").write_text("\n".join(lent) + "\n")
    return python


def clean_variables(folder: Path, python: Path) -> dict[str, str]:
    """Return environment variables under which nothing of the working tree or the user's site leaks in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STEPWISE_"))}
    return {
        **kept,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }


def run_installed_tests(python: Path, folder: Path, arguments: list[str]) -> list[str]:
    """Run each package's tests, copied away from the sources, and return the packages whose tests failed."""
    pytest = [
        str(python),
        "-m",
        "pytest",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "-p",
        "no:cacheprovider",
    ]
    failed = []
    for name in PACKAGES:
        tests = folder / "tests" / name
        shutil.copytree(
            ROOT / "packages" / name / "tests", tests, ignore=shutil.ignore_patterns("__pycache__")
        )
        print(f"\n{name}: tests of the installed wheel", flush=True)
        command = [*pytest, "--rootdir", str(tests), "--numprocesses", "2", "--quiet", *arguments, str(tests)]
        if subprocess.run(command, cwd=folder, env=clean_variables(folder, python)).returncode != 0:
            failed.append(name)
    return failed


def main() -> int:
    """Do all of it and return 0 if every step passed."""
    parser = argparse.ArgumentParser(description="Check the wheels of the four packages.")
    parser.add_argument("--slow", action="store_true", help="run the slow tests as well")
    options, pytest_arguments = parser.parse_known_args()
    quick = [] if options.slow else ["-m", "not slow"]
    with tempfile.TemporaryDirectory(prefix="stepwise-wheels-") as name:
        folder = Path(name)
        wheels = build_wheels(folder / "dist")
        problems = [
            f"{wheel.name} lacks {missing}" for wheel in wheels for missing in missing_from_wheel(wheel)
        ]
        python = make_clean_environment(folder / "clean", wheels)
        check = [str(python), str(INSTALLED_CHECK), str(folder / "clean")]
        if subprocess.run(check, cwd=folder, env=clean_variables(folder, python)).returncode != 0:
            problems.append("the installed packages do not fit together (see above)")
        if not problems:
            failed = run_installed_tests(python, folder, [*quick, *pytest_arguments])
            problems += [f"{package}: tests of the installed wheel failed" for package in failed]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"wheels: {'FAILED' if problems else 'all four build, install and pass their tests'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
