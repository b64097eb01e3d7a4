"""What the house tests share: where things are, and how to read Python and Markdown files."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "track", "server", "cli")
OURS = {f"stepwise_{name}" for name in PACKAGES}
NOT_SOURCE = {"runs", "dist", "build", "__pycache__"}


class Import(NamedTuple):
    """One imported module: where, and whether loading the file is enough to import it."""

    module: str
    line: int
    at_load: bool

    @property
    def top(self) -> str:
        """The first part of the name: the package that would have to be installed."""
        return self.module.partition(".")[0]


def source(package: str) -> Path:
    """Return the folder of a package's modules."""
    return ROOT / "packages" / f"stepwise-{package}" / "src" / f"stepwise_{package}"


def project(package: str) -> dict[str, Any]:
    """Return the [project] table of a package."""
    with (ROOT / "packages" / f"stepwise-{package}" / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


def files(pattern: str, *folders: str) -> list[Path]:
    """Return the files of the repository that match, without caches, results and hidden folders."""
    found = (path for folder in folders or (".",) for path in (ROOT / folder).rglob(pattern))
    return sorted(path for path in found if not _ignored(path.relative_to(ROOT).parts))


def imports(path: Path) -> Iterator[Import]:
    """Yield every import of a Python file; those under TYPE_CHECKING and in functions do not run at load."""
    yield from _imports(ast.parse(path.read_text()), at_load=True)


def listing(violations: list[str]) -> str:
    """Return all violations, one a line, for an assertion that shows more than the first."""
    return "\n" + "\n".join(violations)


def _ignored(parts: tuple[str, ...]) -> bool:
    return any(part in NOT_SOURCE or part.startswith(".") for part in parts[:-1])


def _imports(node: ast.AST, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield Import(child.module, child.lineno, at_load)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, at_load=False)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, at_load and not is_function)
