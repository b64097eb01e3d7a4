"""Run folders: their names, their lock, and what is refused when one is made or loaded."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from tiny import tiny_config, train_run

from stepwise_core.config import load_config
from stepwise_core.errors import CheckpointError, ConfigError, DataError, RunError
from stepwise_core.runs import RunFolder, create_run, default_run_name
from stepwise_core.trained import load_run


def test_the_default_name_is_model_data_and_time() -> None:
    config = load_config("dates", environ={}).config
    moment = datetime(2026, 11, 21, 9, 30, 0)
    assert default_run_name(config, moment) == "transformer_dates_20261121-093000"


def test_runs_without_a_name_never_share_a_folder(tmp_path: Path) -> None:
    names = [create_run(tmp_path / "deep" / "runs", None, tiny_config()).name for _ in range(3)]
    assert len(set(names)) == 3
    assert all(name.startswith("transformer_copy_20") for name in names)


@pytest.mark.parametrize("how", ["argument", "configuration"])
def test_a_name_that_is_taken_is_refused_and_the_run_left_alone(tmp_path: Path, how: str) -> None:
    resolved = tiny_config() if how == "argument" else tiny_config("logging.experiment_name=mine")
    run = create_run(tmp_path, "mine", tiny_config("training.seed=7"))
    with pytest.raises(RunError, match="run mine exists already") as caught:
        create_run(tmp_path, "mine" if how == "argument" else None, resolved)
    assert (caught.value.hint or "").startswith("stepwise resume mine")
    assert run.config().training.seed == 7
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", " ", "a b", "-x", "x" * 201, "a\n", "[red]"])
def test_names_that_are_no_folder_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="cannot be a folder name"):
        create_run(tmp_path / "runs", name, tiny_config())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("place", ["file", "file/runs"])
def test_a_file_where_the_runs_should_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    for name in ("mine", None):
        with pytest.raises(RunError, match=f"cannot make run .* in {tmp_path / place}: ") as caught:
            create_run(tmp_path / place, name, tiny_config())
        assert "--runs-dir" in (caught.value.hint or "")


def test_config_json_loads_to_the_same_configuration_and_keeps_origins(tmp_path: Path) -> None:
    resolved = tiny_config("training.seed=7")
    run = create_run(tmp_path, "mine", resolved)
    assert run.config() == resolved.config
    origins = json.loads(run.config_file.read_text())["_origin"]
    assert (origins["training.seed"], origins["data.seed"]) == ("flag", "default")


HOLD = """
import sys
from pathlib import Path
from stepwise_core.runs import RunFolder

with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = create_run(tmp_path, "mine", tiny_config())
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="run mine is in use by another process"), run.locked():
            raise AssertionError("two processes write one run")
        process.kill()
    with run.locked():  # a killed process leaves no lock behind
        pass
    with run.locked():
        pass


def test_a_run_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.json"):
        load_run(tmp_path)


def test_a_run_that_has_no_checkpoint_yet(tmp_path: Path) -> None:
    run = create_run(tmp_path, "mine", tiny_config())
    with pytest.raises(CheckpointError, match="run mine has no checkpoint yet; there: none") as caught:
        load_run(run.path)
    assert (caught.value.hint or "").startswith("stepwise resume mine")


def test_a_broken_config_and_a_missing_tokenizer_are_named(tmp_path: Path) -> None:
    run, _ = train_run(tmp_path, "training.max_steps=1")
    (run.tokenizer / "source.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json: no such tokenizer"):
        load_run(run.path)
    run.config_file.write_text('{"model": {"d_model": "wide"}}')
    with pytest.raises(ConfigError, match=r"model\.d_model = 'wide'"):
        load_run(run.path)


def test_names_come_from_the_folder_also_through_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "mine", tiny_config())
    monkeypatch.chdir(run.path)
    assert RunFolder(Path(".")).name == "mine"
