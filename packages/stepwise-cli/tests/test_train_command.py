"""`stepwise train`: the run folder it makes, under which name, and what it says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.config import load_config
from stepwise_core.evaluation import Evaluation
from stepwise_core.runs import RunFolder
from stepwise_track.reader import read_series


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_run_folder_holds_everything(trained: Path, tiny_config: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *("config.json", "journal", "checkpoints", "pictures", "samples", "evaluation.json"),
        *("environment.json", "run.log", "tokenizer", "run.lock"),
    }
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"step-00000016", "best", "latest"}
    assert sorted(path.name for path in (trained / "samples").iterdir()) == [
        f"step-{step:08d}.txt" for step in (6, 12, 16)
    ]
    sample = (trained / "samples" / "step-00000016.txt").read_text().splitlines()
    assert len(sample) == 6
    assert [line[:4] for line in sample[1:3]] == ["  = ", "  > "]
    assert {path.name for path in (trained / "tokenizer").iterdir()} == {"source.json", "target.json"}
    pictures = {
        path.relative_to(trained / "pictures").as_posix() for path in (trained / "pictures").rglob("*")
    }
    assert {"training-curves.png", "architecture.svg", "attention/cross-layer-0.png"} <= pictures
    log = (trained / "run.log").read_text().splitlines()
    assert re.fullmatch(r"\S+ INFO step 16: validation loss \d\.\d{6}", log[-2])
    assert log[-1].endswith("INFO step 16: checkpoint step-00000016 (best)")


def test_the_configuration_is_kept_with_its_origins(trained: Path, tiny_config: Path) -> None:
    assert RunFolder(trained).config() == load_config(tiny_config, environ={}).config
    origins = json.loads((trained / "config.json").read_text())["_origin"]
    assert origins["model.d_model"] == "file tiny.yaml"
    assert origins["model.norm"] == "preset modern"
    assert origins["data.seed"] == "default"


def test_the_journal_has_every_curve(trained: Path) -> None:
    series = read_series(trained)
    assert [step for step, _, _ in series["train/loss"]] == list(range(1, 17))
    assert [step for step, _, _ in series["validation/loss"]] == [6, 12, 16]
    assert [step for step, _, _ in series["epoch/train_loss"]] == [1, 2]
    named = {"train/learning_rate", "train/gradient_norm", "train/tokens_per_second", "train/padding_ratio",
             "validation/perplexity", "validation/token_accuracy", "memory/process_bytes",
             "gradient_norm/encoder.layers.0"}  # fmt: skip
    assert named <= series.keys()
    mean = sum(value for _, value, _ in series["train/loss"][:8]) / 8
    assert series["epoch/train_loss"][0][1] == pytest.approx(mean, rel=0.05)


def test_the_evaluation_is_of_the_whole_test_split(trained: Path) -> None:
    evaluation = Evaluation.load(trained / "evaluation.json")
    assert (evaluation.run, evaluation.checkpoint, evaluation.split) == ("tiny", "step-00000016", "test")
    assert evaluation.scores["num_examples"] == len(evaluation.examples) == 20
    assert evaluation.signatures.keys() == {"bleu", "chrf"}


def test_settings_not_to_log_are_obeyed(tiny_config: Path, tmp_path: Path) -> None:
    flags = ["log_gradient_norms", "log_learning_rate", "log_memory_usage", "log_compute_time"]
    changes = [part for flag in flags for part in ("--set", f"logging.{flag}=false")]
    command = ["train", str(tiny_config), "--no-evaluate", "--runs-dir", str(tmp_path), "--run-name", "quiet"]
    assert main([*command, *changes]) == 0
    assert {name for name in read_series(tmp_path / "quiet") if not name.startswith("validation/")} == {
        "train/loss", "epoch/train_loss"
    }  # fmt: skip


def test_without_evaluation_there_is_none(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the folder of runs and the name may come from the environment and the clock."""
    monkeypatch.setenv("STEPWISE_RUNS_DIR", str(tmp_path / "from-environment"))
    assert (
        main(["train", "--config", str(tiny_config), "--no-evaluate", "--set", "training.max_steps=2"]) == 0
    )
    (run,) = (tmp_path / "from-environment").iterdir()
    assert re.fullmatch(r"transformer_copy_\d{8}-\d{6}", run.name)
    assert not (run / "evaluation.json").exists()
    assert not (run / "pictures").exists()
    first, *validations = capsys.readouterr().out.splitlines()
    assert re.match(
        rf"{run.name}: 7,\d{{3}} parameters, 2 steps from the start, padding \d\.\d%, on cpu", first
    )
    assert len(validations) == 1
    assert re.match(r"step +2 +epoch +1 +validation loss \d\.\d{4} .*★ best", validations[0])


def test_the_last_table_shows_scores_examples_and_the_next_command(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(trained)]) == 0
    out = capsys.readouterr().out
    for name in ("exact_match", "token_accuracy", "token_recall", "bleu", "chrf", "perplexity"):
        assert name in out
    assert "training-curves.png" in out
    source = Evaluation.load(trained / "evaluation.json").examples[0].source
    assert f'translate --run {trained} "{source}"' in " ".join(out.split())


@pytest.mark.parametrize("name", ["2024", "yes", "null", "1e3"])
def test_names_that_look_like_numbers_are_names(tiny_config: Path, tmp_path: Path, name: str) -> None:
    options = ["--no-evaluate", "--set", "training.max_steps=1", "--runs-dir", str(tmp_path)]
    shortcuts = ["--task-name", name, "--project-name", "a: b # c", "--device", "cpu"]
    assert main(["train", str(tiny_config), *options, *shortcuts]) == 0
    logging = RunFolder(tmp_path / name).config().logging
    assert (logging.experiment_name, logging.project_name) == (name, "a: b # c")


def test_a_run_folder_is_a_configuration(trained: Path, tmp_path: Path) -> None:
    options = ["--no-evaluate", "--runs-dir", str(tmp_path), "--run-name", "again"]
    assert main(["train", str(trained), *options]) == 0
    assert RunFolder(tmp_path / "again").config() == RunFolder(trained).config()
    assert read_series(tmp_path / "again")["train/loss"][-1][:2] == read_series(trained)["train/loss"][-1][:2]


def test_an_existing_run_is_left_alone(run: Path, tiny_config: Path, fails: Fails) -> None:
    before = files_below(run)
    message = fails(1, "train", tiny_config, "--run-name", "tiny", "--runs-dir", run.parent)
    assert "run tiny exists already" in message
    assert "stepwise resume tiny" in message
    assert files_below(run) == before
    assert [path.name for path in run.parent.iterdir()] == ["tiny"]


def test_a_training_that_diverges_ends_with_7(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    changes = ["training.learning_rate=1.0e+30", "training.warmup_steps=0", "training.schedule=constant"]
    settings = [part for change in changes for part in ("--set", change)]
    message = fails(7, "train", tiny_config, *settings, "--runs-dir", tmp_path, "--run-name", "wild")
    assert re.match(
        r"error: step 2 diverged: loss \S+, gradient norm (nan|inf), learning rate 1e\+30; ", message
    )
    folder = tmp_path / "wild" / "divergence" / "step-00000002"
    assert {path.name for path in folder.iterdir()} == {"batch.json", "statistics.json"}
    assert str(folder) in message


def test_a_file_instead_of_the_folder_of_runs(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "file").write_text("mine")
    fails(2, "train", tiny_config, "--runs-dir", tmp_path / "file")
    assert "cannot make run" in fails(1, "train", tiny_config, "--runs-dir", tmp_path / "file" / "runs")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_permission_to_write(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "ro,size=4k",
        "tmpfs",
        str(place),
    ]  # root may write everywhere else
    as_root = os.geteuid() == 0
    if as_root and subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("root, and no file system can be mounted")
    if not as_root:
        place.chmod(0o500)
    try:
        message = fails(1, "train", tiny_config, "--runs-dir", place / "runs")
        assert re.match(
            r"error: cannot make run \S+ in \S+: (Read-only file system|Permission denied)", message
        )
    finally:
        if as_root:
            subprocess.run(["umount", str(place)], check=True)
        else:
            place.chmod(0o700)
