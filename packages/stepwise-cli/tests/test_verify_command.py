"""`stepwise verify`: real trainings in processes of their own, killed and compared; and that it can fail."""

from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.commands.verify import _compare
from stepwise_cli.main import main

DEMANDING = ("--set", "training.accumulation=3", "--set", "model.dropout=0.3", "--set", "training.epochs=1",
             "--set", "training.early_stopping=1", "--steps", "30")  # fmt: skip
"""Mid-accumulation; with fewer steps in the configuration than verify needs, and a wish to end early."""


def rows_of(out: str) -> dict[str, list[str]]:
    """Return {what was compared: [values, different, largest difference]} of the printed table."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


@pytest.mark.slow
@pytest.mark.parametrize("proof", ["resume", "neutrality"])
def test_the_proof_holds(tiny_config: Path, capsys: pytest.CaptureFixture[str], proof: str) -> None:
    assert main(["verify", proof, str(tiny_config), *DEMANDING]) == 0
    out = capsys.readouterr().out
    assert out.endswith("zero difference\n")
    rows = rows_of(out)
    assert rows.keys() == {"weights", "optimizer", "training losses"}
    assert {tuple(row[1:]) for row in rows.values()} == {("0", "0")}
    assert rows["training losses"][0] == "30"
    assert int(rows["weights"][0].replace(",", "")) > 5_000


def test_a_difference_is_found_and_fails(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seeds in the place of a broken promise."""
    for seed in (1, 2):
        settings = ["--set", f"training.seed={seed}", "--set", "training.max_steps=3", "--no-evaluate"]
        command = [
            "train",
            str(tiny_config),
            *settings,
            "--runs-dir",
            str(tmp_path),
            "--run-name",
            f"seed-{seed}",
        ]
        assert main(command) == 0
    capsys.readouterr()
    with pytest.raises(Exception, match="seed-1 and seed-2 differ") as caught:
        _compare(tmp_path, "seed-1", "seed-2")
    assert caught.value.exit_code == 1  # type: ignore[attr-defined]
    rows = rows_of(capsys.readouterr().out)
    assert rows["training losses"][:2] == ["3", "3"]
    assert all(row[1] != "0" for row in rows.values())
    _compare(tmp_path, "seed-1", "seed-1")


def test_a_training_that_fails_is_no_proof(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "neutrality", str(tiny_config), "--set", "model.n_heads=3"]) == 3
    err = capsys.readouterr().err
    assert "is not divisible by n_heads 3" in err
    assert err.endswith("error: `stepwise train` failed with exit code 3\n")


def test_too_few_steps_are_refused(tiny_config: Path, fails: Fails) -> None:
    fails(2, "verify", "resume", tiny_config, "--steps", "3")
