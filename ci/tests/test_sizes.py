"""The size rules: short files, short functions."""

import ast
import statistics

from house import ROOT, files, listing

FOLDERS = ("packages", "ci", "bench")
MEDIAN_LINES = 200
FILE_LINES = 400
FUNCTION_LINES = 60


def test_files_and_functions_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files("*.py", *FOLDERS)}
    violations = [
        f"{path.relative_to(ROOT)}: {length} lines, more than {FILE_LINES}"
        for path, length in lengths.items()
        if length > FILE_LINES
    ]
    for path in lengths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    violations.append(f"{place}: {node.name} has {length} lines, more than {FUNCTION_LINES}")
    median = statistics.median(lengths.values())
    if median >= MEDIAN_LINES:
        violations.append(f"the median file has {median} lines, not under {MEDIAN_LINES}")
    assert not violations, listing(violations)


def test_test_modules_have_names_of_their_own() -> None:
    """Pytest imports test modules by their bare name, so one run over everything needs them to differ."""
    seen: dict[str, str] = {}
    clashes = []
    for path in files("test_*.py", *FOLDERS):
        place = str(path.relative_to(ROOT))
        if path.name in seen:
            clashes.append(f"{place} has the name of {seen[path.name]}")
        seen[path.name] = place
    assert not clashes, listing(clashes)
