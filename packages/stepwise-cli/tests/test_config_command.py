"""`stepwise config`: what it starts, shows, checks and describes."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.config import DEVIATIONS, all_keys, load_config, shipped_configs

Out = pytest.CaptureFixture[str]


def output(capsys: Out, *arguments: object) -> str:
    capsys.readouterr()
    assert main(["config", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_list_names_every_shipped_configuration_and_says_what_it_is(capsys: Out) -> None:
    rows = dict(line.split(maxsplit=1) for line in output(capsys, "list").splitlines())
    assert rows.keys() == shipped_configs().keys()
    assert {"dates", "copy", "multi30k-en-de"} <= rows.keys()
    assert all(len(what) > 20 for what in rows.values())


def test_init_writes_a_commented_copy_that_trains(tmp_path: Path, capsys: Out) -> None:
    file = tmp_path / "mine.yaml"
    assert f"stepwise train {file}" in output(capsys, "init", file, "--from", "copy")
    assert "#" in file.read_text()
    assert load_config(file, environ={}).config == load_config("copy", environ={}).config


def test_init_replaces_a_file_only_by_force(tmp_path: Path, capsys: Out, fails: Fails) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert "--force replaces it" in fails(2, "config", "init", file)
    assert file.read_text() == "mine"
    output(capsys, "init", file, "--force")
    assert file.read_bytes() == shipped_configs()["dates"].read_bytes()


def test_init_where_it_cannot(tmp_path: Path, fails: Fails) -> None:
    assert "no folder" in fails(2, "config", "init", tmp_path / "deep" / "mine.yaml")
    fails(2, "config", "init", tmp_path)
    assert "did you mean `dates`" in fails(3, "config", "init", tmp_path / "a.yaml", "--from", "date")
    assert list(tmp_path.iterdir()) == []


def test_show_prints_a_configuration_that_means_the_same(tmp_path: Path, capsys: Out) -> None:
    changes = ("--set", "model.d_model=256", "--set", "logging.notes='für später: alles'")
    file = tmp_path / "shown.yaml"
    file.write_text(output(capsys, "show", "dates", *changes), encoding="utf-8")
    resolved = load_config("dates", [part for part in changes if part != "--set"], environ={})
    assert load_config(file, environ={}).config == resolved.config
    assert "für später" in file.read_text(encoding="utf-8")
    as_json = json.loads(output(capsys, "show", "dates", *changes, "--json"))
    assert as_json == resolved.config.model_dump(mode="json") == yaml.safe_load(file.read_text())


def test_the_configuration_may_be_named_either_way_but_once(capsys: Out, fails: Fails) -> None:
    assert output(capsys, "show", "copy") == output(capsys, "show", "--config", "copy")
    assert output(capsys, "show") == output(capsys, "show", "dates")
    assert "two configurations: copy and --config dates" in fails(2, "config", "show", "copy", "-c", "dates")


def test_origin_says_where_each_value_came_from(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: modern\nmodel: {d_model: 32}\ntraining: {epochs: 3, seed: 1}\n")
    monkeypatch.setenv("STEPWISE_TRAINING__EPOCHS", "4")
    monkeypatch.setenv("STEPWISE_TRAINING__SEED", "2")
    lines = output(capsys, "show", file, "--origin", "--set", "training.seed=3").splitlines()
    rows = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines}
    assert rows.keys() == set(all_keys())
    for key, value, origin in (
        ("model.d_model", "32", "file mine.yaml"),
        ("training.epochs", "4", "environment"),
        ("training.seed", "3", "flag"),
        ("training.betas", "[0.9, 0.95]", "preset modern"),
        ("training.batch_size", "32", "default"),
    ):
        assert rows[key].startswith(value), key
        assert rows[key].endswith(f" {origin}"), key


@pytest.mark.parametrize("name", [None, *shipped_configs()])
def test_every_shipped_configuration_is_valid(capsys: Out, name: str | None) -> None:
    assert output(capsys, "validate", *([name] if name else [])) == f"{name or 'dates'}: ok\n"


def test_validate_shows_all_mistakes_at_once(tmp_path: Path, fails: Fails) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("model: {d_modl: 32, n_heads: 3, dropout: much}\ntrainig: {epochs: 3}\n")
    message = fails(3, "config", "validate", file, "--set", "model.d_model=64")
    assert message.startswith("error: 4 mistakes in the configuration:\n")
    for part in (
        "unknown key `model.d_modl` (file bad.yaml); did you mean `model.d_model`?",
        "model.dropout = 'much' (file bad.yaml): ",
        "unknown key `trainig",
        "d_model 64 is not divisible by n_heads 3",
    ):
        assert part in message, part


def test_schema_lists_every_key_with_its_meaning(capsys: Out) -> None:
    lines = output(capsys, "schema").splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == list(all_keys())
    assert all(len(line.strip()) > 10 for line in lines[1::2])
    assert "model.d_model: integer > 0 = 512" in lines
    properties = json.loads(output(capsys, "schema", "--json"))["properties"]
    assert properties.keys() == {"preset", *{key.partition(".")[0] for key in all_keys() if "." in key}}


def test_presets_shows_each_deviation_with_its_test(capsys: Out) -> None:
    out = output(capsys, "presets")
    for row in DEVIATIONS:
        assert f"{row.key} " in out
        assert row.test in out
