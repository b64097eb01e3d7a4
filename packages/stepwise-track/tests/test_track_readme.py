"""The example of the README runs as it stands, and says the truth about the journal."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepwise_track.journal import unframe

README = Path(__file__).parent.parent / "README.md"

pytestmark = pytest.mark.skipif(
    not README.exists(), reason="an installed package has no README beside its tests"
)


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_example_prints_what_it_promises(tmp_path: Path) -> None:
    (program,) = blocks("python")
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    curve, status = result.stdout.splitlines()
    assert re.fullmatch(r"\[\(50, 0\.062, 1.*\), \(100, 0\.031, 1.*\)\]", curve)
    assert status == "completed"


def test_the_lines_of_the_journal_are_valid() -> None:
    header, event = (unframe(f"{line}\n".encode()) for line in blocks("text")[0].splitlines())
    assert header and header["format"] == "stepwise-journal"
    assert event and event["values"] == {"train/loss": 3.05}
