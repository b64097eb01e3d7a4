"""Set the version of the whole house: VERSION, the four pyproject.toml files, and the pins between them.

usage: python ci/set_version.py NEW [--dry-run]
"""

import argparse
import re
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT_VERSION = re.compile(r'(?<=^version = ")[^"]+(?=")', re.MULTILINE)
SIBLING_PIN = re.compile(r'(?<="stepwise-)(core|track|server|cli)(\[\w+\])?==[^"]+(?=")')


def with_version(root: Path, new: str) -> dict[Path, str]:
    """Return every file that carries the version, with the text that it has under the new one."""
    changed = {root / "VERSION": f"{new}\n"}
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        text, count = PROJECT_VERSION.subn(new, path.read_text())
        if count != 1:
            raise SystemExit(f"error: {path}: {count} lines with a version, expected one")
        changed[path] = SIBLING_PIN.sub(lambda match: f"{match[1]}{match[2] or ''}=={new}", text)
    return changed


def main(arguments: list[str] | None = None, root: Path = ROOT) -> None:
    """Write the new version everywhere, or with `--dry-run` only say where."""
    parser = argparse.ArgumentParser(description="Set the version of all four packages.")
    parser.add_argument("new", metavar="NEW", help="the new version, as in PEP 440")
    parser.add_argument("--dry-run", action="store_true", help="only show the lines that would change")
    options = parser.parse_args(arguments)
    try:
        new = str(Version(options.new))
    except InvalidVersion:
        parser.error(f"{options.new!r} is no version such as 0.2.0 or 1.0.0rc1")
    for path, text in with_version(root, new).items():
        old = path.read_text()
        for before, after in zip(old.splitlines(), text.splitlines(), strict=True):
            if before != after:
                print(f"{path.relative_to(root)}: {before.strip()}  ->  {after.strip()}")
        if not options.dry_run:
            path.write_text(text)
    if not options.dry_run:
        print("next: make venv, so that the installed packages know; then the heading in CHANGELOG.md")


if __name__ == "__main__":
    main()
