"""Build the wheels of the four packages: `python ci/build_wheels.py DIRECTORY`.

hatchling comes from the project's own environment (no build isolation), so building needs no network.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stepwise-core", "stepwise-track", "stepwise-server", "stepwise-cli")


def build_wheels(directory: Path) -> list[Path]:
    """Build all wheels into `directory`.

    Args:
        directory: made if it is missing; wheels of ours that an earlier build left there are replaced.

    Returns:
        The four wheels, in the order of `PACKAGES`.

    Raises:
        subprocess.CalledProcessError: a build failed; pip has said why.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("stepwise_*.whl"):
        old.unlink()
    pip_wheel = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory)]
    subprocess.run([*pip_wheel, *options, *(str(ROOT / "packages" / name) for name in PACKAGES)], check=True)
    return [next(directory.glob(f"{name.replace('-', '_')}-*.whl")) for name in PACKAGES]


if __name__ == "__main__":
    for wheel in build_wheels(Path(sys.argv[1])):
        print(f"{wheel}  {wheel.stat().st_size / 1024:.0f} KiB")
