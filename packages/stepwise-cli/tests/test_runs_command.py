"""`stepwise runs` shows what the journals hold, in tables for people and JSON for programs."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stepwise_cli.commands.runs import SPARK_WIDTH, runs, sparkline
from stepwise_cli.main import main
from stepwise_track import ExperimentLogger, TrackError


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Three runs: `first` is best by loss, `second` by exact match, `other_third` failed."""
    for number, name in enumerate(["first", "second", "other_third"]):
        config = {"model": {"d_model": 64 * 2**number, "n_heads": 4}}
        logger = ExperimentLogger(
            "dates/trials",
            name,
            config,
            tags=["baseline" if number == 0 else "variant"],
            notes="goal",
            runs_dir=tmp_path,
            model_type="transformer",
            dataset="dates",
        )
        for step in range(1, 11):
            logger.log_training_step(loss=(number + 1) / step, learning_rate=0.1, step=step)
        logger.log_validation_step(loss=number + 0.5, step=10)
        if number < 2:
            logger.log_single_value("exact_match", 0.9 + number / 100)
        logger.log_artifact("notes", _file(logger.run_dir / "notes.txt", "12345"))
        logger.finish("failed" if number == 2 else "completed")
    return tmp_path


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def invoke(runs_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(runs, [*arguments, "--runs-dir", str(runs_dir)])


def output(runs_dir: Path, *arguments: str) -> str:
    result = invoke(runs_dir, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def as_json(runs_dir: Path, *arguments: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(output(runs_dir, *arguments, "--json"), parse_constant=refuse)


def test_list_has_a_line_for_every_run(runs_dir: Path) -> None:
    lines = output(runs_dir, "list").splitlines()
    (third,) = (line for line in lines if line.startswith("other_third"))
    assert third.split() == ["other_third", "failed", *third.split()[2:4], "0s", "10", "2.5", "variant"]
    assert [line.split()[0] for line in lines[-3:]] == ["other_third", "second", "first"]  # the newest first


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["other_third", "second", "first"]),
        (["--sort", "name"], ["first", "other_third", "second"]),
        (["--sort", "best"], ["first", "second", "other_third"]),
        (["--filter", "VARIANT"], ["other_third", "second"]),
        (["--filter", "failed"], ["other_third"]),
        (["--filter", "nothing like it"], []),
    ],
)
def test_list_sorts_and_filters(runs_dir: Path, options: list[str], expected: list[str]) -> None:
    assert [run["name"] for run in as_json(runs_dir, "list", *options)] == expected


def test_list_as_json_says_everything(runs_dir: Path) -> None:
    (run,) = as_json(runs_dir, "list", "--filter", "second")
    assert (run["project"], run["model_type"], run["dataset"]) == ("dates/trials", "transformer", "dates")
    assert (run["status"], run["steps"], run["tags"], run["notes"]) == ("completed", 10, ["variant"], "goal")
    assert run["best"] == {"name": "validation/loss", "value": 1.5, "step": 10}
    assert run["single_values"] == {"exact_match": 0.91}
    assert run["path"] == str(runs_dir / "second")


def test_without_runs_one_line_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert output(folder, "list") == f"No runs in {folder} yet. Start one: stepwise train\n"
        assert as_json(folder, "list") == []
        for command in (["show", "latest"], ["best"], ["compare", "a", "b"]):
            error = invoke(folder, *command).exception
            assert isinstance(error, TrackError) and error.hint == "stepwise train"


def test_a_filter_that_finds_nothing_says_so(runs_dir: Path) -> None:
    assert "None of the 3 runs" in output(runs_dir, "list", "--filter", "xyz")


def test_the_folder_may_come_from_the_environment(runs_dir: Path) -> None:
    result = CliRunner().invoke(runs, ["list"], env={"STEPWISE_RUNS_DIR": str(runs_dir)})
    assert "other_third" in result.output


def test_show_tells_a_run_from_top_to_bottom(runs_dir: Path) -> None:
    text = output(runs_dir, "show", "other")
    words = text.split()
    for word in ("failed", "goal", "model.d_model", "256", "train/loss", "validation/loss", "notes.txt"):
        assert word in words
    (curve,) = (line for line in text.splitlines() if line.startswith("train/loss"))
    assert curve.split()[1:] == ["10", "10", "0.3", "0.3", "3", "█▄▃▂▂▂▁▁▁▁"]


def test_show_as_json(runs_dir: Path) -> None:
    (runs_dir / "first" / "notes.txt").unlink()
    found = as_json(runs_dir, "show", "first")
    assert found["parameters"] == {"model.d_model": 64, "model.n_heads": 4}
    assert found["series"]["train/loss"] == {"points": 10, "step": 10, "last": 0.1, "min": 0.1, "max": 1.0}
    (file,) = found["files"]
    assert (file["kind"], file["name"], file["path"]) == ("artifact", "notes", "notes.txt")
    assert (file["size"], file["present"]) == (5, False)
    assert "(gone)" in output(runs_dir, "show", "first")


def test_show_latest_is_the_last_that_started(runs_dir: Path) -> None:
    assert as_json(runs_dir, "show", "latest")["name"] == "other_third"


def test_best_ranks_by_curve_or_single_value(runs_dir: Path) -> None:
    found = as_json(runs_dir, "best")
    assert found["mode"] == "min"
    assert [(run["run"], run["value"]) for run in found["runs"]] == [
        ("first", 0.5),
        ("second", 1.5),
        ("other_third", 2.5),
    ]
    lines = output(runs_dir, "best", "--metric", "exact_match").splitlines()
    assert [line.split() for line in lines[-2:]] == [["★", "second", "0.91"], ["first", "0.9"]]
    worst = as_json(runs_dir, "best", "--metric", "exact_match", "--mode", "min")
    assert worst["runs"][0]["run"] == "first"


def test_best_asks_instead_of_guessing(runs_dir: Path) -> None:
    result = invoke(runs_dir, "best", "--metric", "num_examples")
    assert result.exit_code == 2 and "--mode min or --mode max" in result.output
    error = invoke(runs_dir, "best", "--metric", "bleu").exception
    assert isinstance(error, TrackError) and "no run in" in str(error)
    assert "exact_match, train/learning_rate, train/loss, validation/loss" in str(error.hint)


def test_compare_shows_the_differences_and_marks_the_best(runs_dir: Path) -> None:
    found = as_json(runs_dir, "compare", "first", "second")
    assert found["parameters"] == {"model.d_model": {"first": 64, "second": 128}}
    assert found["metrics"]["exact_match"] == {"first": 0.9, "second": 0.91}
    assert found["best"] == {"train/loss": "first", "validation/loss": "first", "exact_match": "second"}
    text = output(runs_dir, "compare", "first", "second")
    lines = [line.split() for line in text.splitlines()]
    assert ["model.d_model", "64", "128"] in lines and "n_heads" not in text
    assert ["exact_match", "0.9", "★", "0.91"] in lines


def test_compare_of_equal_runs_says_so(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ExperimentLogger("p", name, {"x": 1}, runs_dir=tmp_path).finish()
    assert output(tmp_path, "compare", "a", "b") == "All parameters are equal.\n"


def test_compare_needs_two(runs_dir: Path) -> None:
    assert invoke(runs_dir, "compare", "first").exit_code == 2
    assert isinstance(invoke(runs_dir, "compare", "first", "fi").exception, TrackError)


def test_hostile_text_and_numbers_reach_neither_terminal_nor_json(tmp_path: Path) -> None:
    evil = "\x1b[31mred[bold]x[/nonsense]\ud800\n"
    with ExperimentLogger(evil, "evil", {evil: evil}, [evil], evil, runs_dir=tmp_path) as logger:
        logger.log_training_step(loss=math.nan, learning_rate=math.inf, step=1, **{evil: 1})
        logger.log_single_value(evil, -math.inf)
        logger.log_image(evil, [[0.0]], step=1)
    ExperimentLogger("p", "tame", runs_dir=tmp_path).finish()
    shown = "".join(
        output(tmp_path, *command) for command in (["list"], ["show", "evil"], ["compare", "evil", "tame"])
    )
    assert "\x1b" not in shown and r"\x1b[31mred[bold]x[/nonsense]\ud800\n" in shown
    found = as_json(tmp_path, "show", "evil")
    assert found["series"]["train/loss"]["last"] == "nan"
    assert found["single_values"] == {evil: "-inf"}
    as_json(tmp_path, "list")
    as_json(tmp_path, "compare", "evil", "tame")


def test_sparklines() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([1, math.nan, 2, math.inf]) == "▁·█·"
    assert sparkline([math.nan]) == "·" and sparkline([]) == ""
    assert sparkline([1e308, -1e308]) == "█▁"
    assert len(sparkline([float(n) for n in range(1000)])) == SPARK_WIDTH


def test_an_unknown_run_ends_with_exit_code_1_and_the_nearest_names(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "show", "secnod", "--runs-dir", str(runs_dir)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: there is no run 'secnod' in {runs_dir}",
        "  next: one of: second",
    ]


def test_runs_load_no_torch(runs_dir: Path) -> None:
    program = (
        "import sys; from stepwise_cli.main import main;"
        f"code = main(['runs', 'list', '--runs-dir', {str(runs_dir)!r}]);"
        "print(code, [name for name in ('torch', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "0 []", result.stderr
