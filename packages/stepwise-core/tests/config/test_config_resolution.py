"""How a configuration is put together: files, presets, environment, flags, and where each value came from."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from stepwise_core.config import (
    Config,
    all_keys,
    config_from_dict,
    find_config,
    load_config,
    shipped_configs,
)
from stepwise_core.config.presets import preset_values

VALUES: dict[str, Any] = {
    "preset": "modern",
    "model": {"d_model": 96, "n_heads": 6, "dropout": 0.25},
    "data": {"name": "copy", "toy": {"min_length": 2, "max_length": 5}},
    "training": {"betas": [0.8, 0.9], "max_steps": None},
    "logging": {"tags": ["a", "b"], "notes": "Ziel: größer", "experiment_name": "2026-11-21"},
}


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_loads(name: str) -> None:
    resolved = load_config(name, environ={})
    assert resolved.config == load_config(shipped_configs()[name], environ={}).config
    first_line = shipped_configs()[name].read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith("# ")  # `stepwise config list` shows it
    written = yaml.safe_load(shipped_configs()[name].read_text(encoding="utf-8"))
    assert written["data"]["name"] == resolved.config.data.name


def test_the_configurations_of_the_documents_are_shipped() -> None:
    assert {"dates", "dates-smoke", "copy", "reverse", "sort", "addition", "multi30k-en-de"} <= set(
        shipped_configs()
    )


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    files = {".json": json.dumps(VALUES), ".yaml": yaml.safe_dump(VALUES), ".yml": yaml.safe_dump(VALUES)}
    found = []
    for suffix, text in files.items():
        (tmp_path / f"c{suffix}").write_text(text, encoding="utf-8")
        found.append(load_config(tmp_path / f"c{suffix}", environ={}).config)
    assert found[0] == found[1] == found[2] == config_from_dict(VALUES).config
    assert found[0].model.d_model == 96
    assert found[0].training.betas == (0.8, 0.9)
    assert found[0].logging.notes == "Ziel: größer"
    assert found[0].logging.experiment_name == "2026-11-21"


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "0.0001", "'1e-4'"])
def test_small_numbers_as_people_write_them(text: str, tmp_path: Path) -> None:
    """YAML 1.1 takes 1e-4 for a text."""
    path = tmp_path / "c.yaml"
    path.write_text(f"training: {{learning_rate: {text}}}")
    for resolved in (
        load_config(path, environ={}),
        load_config(None, [f"training.learning_rate={text}"], environ={}),
        load_config(None, environ={"STEPWISE_TRAINING__LEARNING_RATE": text}),
    ):
        assert resolved.config.training.learning_rate == 1e-4


@pytest.mark.parametrize("name", ["2026-11-21", "2026-11-21 09:30:00", "2026-13-45"])
def test_text_that_looks_like_a_date_is_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"logging: {{experiment_name: {name}}}")
    assert load_config(path, environ={}).config.logging.experiment_name == name
    assert load_config(None, [f"logging.notes={name}"], environ={}).config.logging.notes == name


def test_flag_over_environment_over_file_over_preset_over_default(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preset: modern\nmodel: {d_model: 16}\ntraining: {warmup_steps: 1, eps: 1e-3}\n")
    environ = {"STEPWISE_MODEL__D_MODEL": "32", "STEPWISE_TRAINING__WARMUP_STEPS": "2"}
    resolved = load_config(path, ["model.d_model=64"], environ=environ)
    config, origins = resolved.config, resolved.origins
    assert (config.model.d_model, origins["model.d_model"]) == (64, "flag")
    assert (config.training.warmup_steps, origins["training.warmup_steps"]) == (2, "environment")
    assert (config.training.eps, origins["training.eps"]) == (1e-3, "file c.yaml")
    assert (config.model.norm, origins["model.norm"]) == ("rmsnorm", "preset modern")
    assert (config.model.n_heads, origins["model.n_heads"]) == (8, "default")
    assert list(origins) == list(all_keys())


@pytest.mark.parametrize(
    ("file", "environ", "flags", "expected"),
    [
        ("modern", {}, [], "modern"),
        ("modern", {"STEPWISE_PRESET": "paper"}, [], "paper"),
        ("paper", {"STEPWISE_PRESET": "paper"}, ["preset=modern"], "modern"),
    ],
)
def test_the_highest_layer_chooses_the_preset(
    file: str, environ: dict[str, str], flags: list[str], expected: str, tmp_path: Path
) -> None:
    """And the preset stays the lowest layer: what the file says is kept."""
    path = tmp_path / "c.yaml"
    path.write_text(f"preset: {file}\nmodel: {{activation: gelu}}\n")
    config = load_config(path, flags, environ=environ).config
    assert config.preset == expected
    assert config.model.norm == preset_values(expected)["model.norm"]
    assert config.model.activation == "gelu"


def test_a_whole_section_as_a_flag_keeps_the_rest() -> None:
    for overrides, environ in (
        (["data={name: copy, toy: {max_length: 5}}"], {}),
        (["data.name=copy"], {"STEPWISE_DATA__TOY": "{max_length: 5}"}),
    ):
        resolved = load_config("dates", [*overrides, "data.n_valid=7"], environ=environ)
        assert resolved.config.data.toy.max_length == 5
        assert resolved.config.data.toy.min_length == 4
        assert resolved.config.data.n_valid == 7
        assert resolved.config.data.n_test == 2000  # from the file
        assert resolved.origins["data.toy.max_length"] in ("flag", "environment")
        assert list(resolved.origins) == list(all_keys())


def test_later_flags_win() -> None:
    overrides = ["model.d_model=16", "model={d_model: 32}", " model.d_model =64"]
    assert load_config(None, overrides, environ={}).config.model.d_model == 64


def test_a_section_without_keys_is_empty(tmp_path: Path) -> None:
    """As when every line below it is commented out."""
    path = tmp_path / "c.yaml"
    path.write_text("preset: modern\nmodel:\n#  d_model: 64\ndata:\n  toy:\ntraining:\n  epochs: 3\n")
    config = load_config(path, environ={}).config
    assert config.model.norm == "rmsnorm"
    assert config.training.epochs == 3
    path.write_text("")
    assert load_config(path, environ={}).config == Config()


def test_other_variables_of_the_command_line_are_left_alone() -> None:
    environ = {"STEPWISE_RUNS_DIR": "elsewhere", "HOME": "/", "STEPWISE_MODEL__DROPOUT": "0.5"}
    config = load_config(None, environ=environ).config
    assert config == config_from_dict({"model": {"dropout": 0.5}}).config


def test_the_process_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWISE_MODEL__D_MODEL", "24")
    assert load_config().config.model.d_model == 24
    assert load_config(environ={}).config.model.d_model == 512


@pytest.mark.parametrize("name", ["dates", "multi30k-en-de"])
def test_a_runs_config_json_gives_the_run_again(name: str, tmp_path: Path) -> None:
    """With the origins beside the values; loading it needs neither preset nor environment."""
    resolved = load_config(name, ["model.dropout=0.5"], environ={"STEPWISE_TRAINING__SEED": "5"})
    path = tmp_path / "config.json"
    path.write_text(resolved.to_json(), encoding="utf-8")
    origins = json.loads(path.read_text())["_origin"]
    assert origins == resolved.origins
    assert {
        origins[key] for key in ("model.dropout", "training.seed", "data.name", "model.norm", "data.seed")
    } == {
        "flag",
        "environment",
        f"file {name}.yaml",
        "preset modern",
        "default",
    }
    again = load_config(path, environ={})
    assert again.config == resolved.config
    assert load_config(tmp_path, environ={}).config == resolved.config  # the run folder will do
    assert load_config(path, ["model.d_model=32"], environ={}).config.model.d_model == 32


def test_a_folder_without_configuration_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert find_config(tmp_path) == tmp_path / "config.json"


def test_values_cannot_change_after_loading() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.model.d_model = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.training = config.training  # type: ignore[misc]


def test_derived_sizes() -> None:
    model = config_from_dict(
        {"model": {"d_model": 64, "n_heads": 4, "n_layers": 3, "n_decoder_layers": 1}}
    ).config.model
    assert (model.encoder_layers, model.decoder_layers, model.kv_heads) == (3, 1, 4)
    widths = {"relu": 256, "silu": 256, "swiglu": 168, "reglu": 168}  # 4 x 64; 8/3 x 64 to a multiple of 8
    for activation, width in widths.items():
        assert model.model_copy(update={"activation": activation}).feed_forward_width == width
    assert model.model_copy(update={"d_ff": 10}).feed_forward_width == 10
