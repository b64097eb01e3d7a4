"""`stepwise data`: sources, examples and files, each in a second and without torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwise_cli.main import main

SMALL = [
    argument
    for setting in ("data.n_train=400", "data.n_valid=30", "data.n_test=40", "training.batch_size=16")
    for argument in ("--set", setting)
]


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(["data", *arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def json_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(output_of(capsys, *arguments, "--json"))


def failure_of(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(["data", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_list_names_every_source_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json_of(capsys, "list")
    names = ["dates", "copy", "reverse", "sort", "addition", "parallel"]
    assert [row["name"] for row in rows] == names
    text = output_of(capsys, "list")
    for row in rows:
        assert row["name"] in text
        assert row["summary"] in text
        assert f"{row['example']['source']} -> {row['example']['target']}" in text


@pytest.mark.parametrize("task", ["copy", "reverse", "sort", "addition"])
def test_the_examples_of_the_list_are_true(capsys: pytest.CaptureFixture[str], task: str) -> None:
    from stepwise_core.data.sources.toy import ANSWERS

    (row,) = (row for row in json_of(capsys, "list") if row["name"] == task)
    assert ANSWERS[task](row["example"]["source"]) == row["example"]["target"]


def test_show_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json_of(capsys, "show", *SMALL, "-n", "2")
    text = output_of(capsys, "show", *SMALL, "-n", "2")
    assert facts["name"] == "dates"
    assert facts["version"] in text
    assert {name: split["n_examples"] for name, split in facts["splits"].items()} == {
        "train": 400,
        "valid": 30,
        "test": 40,
    }
    assert len(facts["examples"]) == 2
    for example in facts["examples"]:
        assert "".join(example["source_tokens"]).replace("▁", " ") == example["source"]
        assert example["source"] in text
        assert " ".join(example["target_tokens"]) in text
    assert f"{facts['padding_ratio']:.1%} padding" in text
    for bar in facts["splits"]["train"]["source"]["histogram"]:
        assert any(
            str(bar["first"]) in line and line.endswith(f" {bar['count']}") for line in text.splitlines()
        )


def test_show_takes_a_split_a_number_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        *SMALL,
        "--set",
        "data.name=copy",
        "--set",
        "tokenizer.type=bpe",
        "--set",
        "tokenizer.vocab_size=60",
    ]
    test = json_of(capsys, "show", *small, "--split", "test", "-n", "99")
    train = json_of(capsys, "show", *small, "-n", "99")
    assert test["split"] == "test"
    assert len(test["examples"]) == 40
    assert not {row["source"] for row in test["examples"]} & {row["source"] for row in train["examples"]}
    assert test["tokenizer_type"] == "bpe"
    assert test["source_vocabulary"]["size"] <= 60
    assert json_of(capsys, "show", *small, "-n", "0")["examples"] == []


def test_show_says_what_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    settings = [*SMALL, "--set", "model.max_length=20", "--set", "evaluation.max_length=20"]
    assert json_of(capsys, "show", *settings)["splits"]["train"]["n_too_long"] > 0
    assert "above model.max_length 20" in output_of(capsys, "show", *settings)
    assert "model.max_length" not in output_of(capsys, "show", *SMALL)


def test_text_that_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = parallel_settings(tmp_path, "[bold]x[/bold] [1]\n", "ein\n")
    assert "[bold]x[/bold] [1]" in output_of(capsys, "show", *settings)


def test_prepare_writes_files_that_give_the_same_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = json_of(capsys, "show", *SMALL)["version"]
    monkeypatch.chdir(tmp_path)
    said = output_of(capsys, "prepare", *SMALL)
    assert version in said
    assert "next: stepwise train data/dates" in said
    assert "train 400" in said
    assert json_of(capsys, "show", "data/dates")["version"] == version
    assert "wrote" in output_of(capsys, "prepare", *SMALL)  # again: replaced
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json_of(capsys, "show", str(tmp_path / "data" / "dates"))["version"] == version


def test_prepare_destroys_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    error = failure_of(capsys, 6, "prepare", *SMALL, "--output", str(tmp_path))
    assert error.startswith(f"error: {tmp_path}: the folder holds other files")
    assert "next: choose a new folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def parallel_settings(folder: Path, source: str, target: str) -> list[str]:
    """Write one pair of files and use it for all three splits."""
    (folder / "text.en").write_text(source, encoding="utf-8")
    (folder / "text.de").write_text(target, encoding="utf-8")
    settings = ["data.name=parallel"]
    for split in ("train", "valid", "test"):
        settings.append(f"data.parallel.{split}_source={folder / 'text.en'}")
        settings.append(f"data.parallel.{split}_target={folder / 'text.de'}")
    return [argument for setting in settings for argument in ("--set", setting)]


def test_remarks_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = parallel_settings(tmp_path, "one\n\nthree\n", "eins\nzwei\ndrei\n")
    assert "train: pairs with an empty side, left out: 1" in output_of(capsys, "show", *settings)


@pytest.mark.parametrize("command", ["show", "prepare"])
def test_data_errors_are_one_line_and_exit_with_6(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    settings = parallel_settings(tmp_path, "one\ntwo\n", "eins\n")
    error = failure_of(capsys, 6, command, *settings)
    lines = error.splitlines()
    assert lines[0] == f"error: {tmp_path}/text.en has 2 lines, but {tmp_path}/text.de has 1"
    assert lines[1].startswith("  next: ")
    assert len(lines) == 2


def test_configuration_errors_exit_with_3_and_usage_errors_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "data.nmae" in failure_of(capsys, 3, "show", "--set", "data.nmae=copy")
    assert "dev" in failure_of(capsys, 2, "show", "--split", "dev")


def test_data_commands_do_without_torch() -> None:
    probe = (
        "import sys; from stepwise_cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", probe, "data", "show", *SMALL]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("setting", ["data.seed=-1", "training.seed=-1", "data.toy.max_length=5000"])
def test_numbers_that_nothing_can_be_made_of_are_configuration_errors(
    capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    assert setting.partition("=")[0] in failure_of(capsys, 3, "show", "--set", setting)
