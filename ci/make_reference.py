"""Write the reference pages that follow from the code; with --check say which are out of date instead."""

import sys
from collections.abc import Iterator
from pathlib import Path

from stepwise_core.config import DEVIATIONS, shipped_configs
from stepwise_core.config.describe import describe_keys

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTICE = "<!-- made by `python ci/make_reference.py`; change the code, not this page -->"


def pages() -> dict[Path, str]:
    """Return {path: text} of all generated pages."""
    return {
        FOLDER / "configuration.md": "\n".join(_configuration()) + "\n",
        FOLDER / "presets.md": "\n".join(_presets()) + "\n",
    }


def outdated() -> list[Path]:
    """Return the pages that differ from what the code says."""
    return [
        path
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def _configuration() -> Iterator[str]:
    yield from ("# Configuration", NOTICE, "")
    yield "A configuration is a YAML or JSON file of sections, or a shipped one by name. Any key can also be set by"
    yield "flag (`--set model.d_model=256`) or environment (`STEPWISE_MODEL__D_MODEL=256`). The order, strongest first:"
    yield "flag, environment, file, preset, default; `stepwise config show --origin` tells where each value came from."
    yield ""
    yield "Shipped configurations:"
    yield ""
    for name, path in shipped_configs().items():
        summary = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        yield f"* `{name}`: {summary}"
    section = None
    for key in describe_keys():
        current = key.name.rpartition(".")[0] or "top level"
        if current != section:
            section = current
            yield from ("", f"## {section}", "", "| key | accepts | default | meaning |", "|---|---|---|---|")
        meaning = " ".join(key.meaning.split()).replace("|", "\\|")
        accepts = key.type.replace("|", "\\|")
        yield f"| `{key.name}` | {accepts} | `{key.default}` | {meaning} |"


def _presets() -> Iterator[str]:
    yield from ("# The presets, and where `modern` deviates from the paper", NOTICE, "")
    yield '`paper` is faithful to "Attention Is All You Need" (Vaswani et al., 2017); `modern` is what is usual today.'
    yield "This table is also the code: both presets are made from it, and each row names the test that covers it."
    yield from ("", "| key | paper | modern | paper's section | why | test |", "|---|---|---|---|---|---|")
    for row in DEVIATIONS:
        yield f"| `{row.key}` | {row.paper} | {row.modern} | {row.section} | {row.why} | `{row.test}` |"


def main() -> int:
    """Write the pages, or check them; the exit code is 1 if a check fails."""
    if sys.argv[1:] == ["--check"]:
        for path in outdated():
            print(f"{path} is out of date; next: python ci/make_reference.py")
        return 1 if outdated() else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
