"""`stepwise inspect`: the figures of a run's or a configuration's model, and its diagram."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from stepwise_cli.main import main
from stepwise_core.config import load_config
from stepwise_core.runs import create_run
from stepwise_core.trained import load_run
from stepwise_core.training.loop import Trainer
from stepwise_core.training.session import start_session

SMALL = ["model.d_model=16", "model.n_heads=2", "model.n_layers=1", "data.n_train=200", "data.n_valid=10"]
TRAINED = [*SMALL, "data.n_test=10", "training.epochs=1", "training.max_steps=1", "training.device=cpu"]


def flags(values: list[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["inspect", *arguments, "--json"]) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def test_a_run_has_the_parameters_that_its_checkpoint_has(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = load_config("dates", [*TRAINED, "tokenizer.shared=true", "model.tie_weights=all"], environ={})
    run = create_run(here / "runs", "small-run", resolved)
    Trainer(start_session(resolved.config, run)).run()
    figures = inspected(capsys, "small")
    model = load_run(run.path).model
    total = sum(parameter.numel() for parameter in set(model.parameters()))
    assert figures["name"] == "small-run"
    assert figures["parameters"] == total
    assert figures["memory_bytes"]["weights"] == 4 * total
    assert figures["memory_bytes"]["total"] == 16 * total
    tied = {block["name"]: block["tied_to"] for block in figures["blocks"] if block["tied_to"]}
    assert tied == dict.fromkeys(["target_embedding", "output_projection"], "source_embedding")
    assert figures["pictures"] == [f"runs/small-run/pictures/architecture.{end}" for end in ("png", "svg")]
    assert imread(run.pictures / "architecture.png")[..., :3].std() > 0.05
    svg = (run.pictures / "architecture.svg").read_text(encoding="utf-8")
    assert f"<!-- {total:,} parameters -->" in svg


def test_a_configuration_is_drawn_here_and_leaves_no_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "dates", *flags(SMALL)]) == 0
    shown = capsys.readouterr().out
    assert "MultiHeadAttention" in shown
    assert "B × S × 16" in shown
    assert "activations come on top" in shown
    assert {path.name for path in here.iterdir()} == {"dates-architecture.png", "dates-architecture.svg"}


def test_blocks_add_up_and_settings_change_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = inspected(capsys, "dates", *flags(SMALL))
    deeper = inspected(capsys, "dates", *flags([*SMALL, "model.n_layers=3"]))
    for figures in (small, deeper):
        assert (
            sum(block["parameters"] for block in figures["blocks"] if block["depth"] == 0)
            == figures["parameters"]
        )
    stacks = [
        sum(b["parameters"] for b in f["blocks"] if ".layers." in b["name"] and b["depth"] == 1)
        for f in (small, deeper)
    ]
    assert stacks[1] == 3 * stacks[0]


def test_a_model_larger_than_any_memory_can_be_inspected(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = ["model.d_model=65536", "model.n_heads=64", "model.n_layers=50", "data.n_train=200"]
    assert inspected(capsys, "dates", *flags(huge))["memory_bytes"]["weights"] > 10**13


@pytest.mark.parametrize(
    ("output", "written"),
    [
        ("new/model.svg", {"model.svg"}),
        ("new/model.png", {"model.png"}),
        ("new/model-v1.2", {"model-v1.2.png", "model-v1.2.svg"}),
    ],
)
def test_output_names_the_files(
    here: Path, capsys: pytest.CaptureFixture[str], output: str, written: set[str]
) -> None:
    figures = inspected(capsys, "dates", *flags(SMALL), "--output", output)
    assert {path.name for path in (here / "new").iterdir()} == written
    assert {Path(path).name for path in figures["pictures"]} == written


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "no configuration 'nowhere'"),
        ([], 1, "there are no runs"),
        (["--set", "model.d_model=8"], 2, "--set changes a CONFIG"),
        (["dates", "--set", "model.d_modl=8"], 3, "d_model"),
        (["dates", "--set", "model.d_model=10", "--set", "model.n_heads=3"], 3, "n_heads"),
        (["dates", "--set", "data.name=parallel"], 3, "parallel"),
        (["dates", *flags(SMALL), "--output", "file/model.png"], 1, "cannot write the picture"),
    ],
)
def test_bad_input_is_one_clear_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    (here / "file").touch()
    assert main(["inspect", *arguments]) == code
    assert message in capsys.readouterr().err
    assert {path.name for path in here.iterdir()} == {"file"}
