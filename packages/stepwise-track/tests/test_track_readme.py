"""The example of the README runs as it stands, and says the truth about the journal."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from relay_tools import Tracker, open_logger

from stepwise_track.journal import unframe
from stepwise_track.relay import status

README = Path(__file__).parent.parent / "README.md"

pytestmark = pytest.mark.skipif(
    not README.exists(), reason="an installed package has no README beside its tests"
)


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_example_prints_what_it_promises(tmp_path: Path) -> None:
    program = blocks("python")[0]
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    curve, status = result.stdout.splitlines()
    assert re.fullmatch(r"\[\(50, 0\.062, 1.*\), \(100, 0\.031, 1.*\)\]", curve)
    assert status == "completed"


def test_the_lines_of_the_journal_are_valid() -> None:
    header, event = (unframe(f"{line}\n".encode()) for line in blocks("text")[0].splitlines())
    assert header and header["format"] == "stepwise-journal"
    assert event and event["values"] == {"train/loss": 3.05}


def test_the_example_of_a_backend_delivers_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Tracker
) -> None:
    plugins = tmp_path / "plugins"  # the package of somebody else
    (plugins / "my_package").mkdir()
    (plugins / "my_package" / "lines.py").write_text(blocks("python")[-1])
    declaration = blocks("toml")[0].splitlines()[1]
    (plugins / "recorder-1.0.dist-info" / "entry_points.txt").write_text(
        f"[stepwise_track.backends]\n{declaration.replace(chr(34), '')}\n"
    )
    (tmp_path / "lines").mkdir()
    backends = {"lines": {"folder": str(tmp_path / "lines")}}
    with open_logger(tmp_path / "run", backends) as logger:
        logger.log_training_step(loss=0.5, step=1)
        logger.log_image("cat", [[0.5]])
    (one,) = status(tmp_path / "run")
    assert (one.pending, one.finished, one.degraded) == (0, "completed", {"picture: by its path": 1})
    (lines,) = (tmp_path / "lines").glob("*.txt")
    assert [int(line.split()[0].rpartition("-")[2]) for line in lines.read_text().splitlines()] == [
        *range(1, one.last_seq + 1)
    ]
