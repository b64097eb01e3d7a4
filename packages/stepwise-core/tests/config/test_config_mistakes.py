"""Mistakes in a configuration: all of them at once, each with its place and the nearest name that is right."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stepwise_core.config import (
    Config,
    ModelConfig,
    TokenizerConfig,
    all_keys,
    config_from_dict,
    load_config,
)
from stepwise_core.errors import ConfigError


def mistakes(
    source: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides, environ or {})
    assert caught.value.exit_code == 3
    return str(caught.value)


def flagged(*overrides: str) -> list[str]:
    """The lines about mistakes made with --set."""
    heading, *lines = mistakes(None, overrides).splitlines()
    assert heading == f"{len(lines)} mistake{'s' if len(lines) > 1 else ''} in the configuration:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("model.d_modle", "model.d_model"),
        ("modle.d_model", "model"),
        ("d_model", "model.d_model"),
        ("training.d_model", "model.d_model"),
        ("training.learning_rat", "training.learning_rate"),
        ("training.lerning_rate", "training.learning_rate"),
        ("epochs", "training.epochs"),
        ("data.toy.n_symbol", "data.toy.n_symbols"),
        ("logging.experiment", "logging.experiment_name"),
    ],
)
def test_an_unknown_key_gets_the_nearest_name(key: str, nearest: str) -> None:
    (line,) = flagged(f"{key}=3")
    assert f"did you mean `{nearest}`?" in line
    assert "(flag)" in line


def test_an_unknown_section_gets_the_nearest_name_and_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("trainng:\n  epochs: 3\n  seed: 1\nevaluaton: {beam_size: 4}\n")
    text = mistakes(path, environ={"STEPWISE_MODLE__D_MODEL": "3"})
    assert "unknown key `trainng` (file c.yaml); did you mean `training`?" in text
    assert "unknown key `evaluaton` (file c.yaml); did you mean `evaluation`?" in text
    assert "unknown key `modle` (environment); did you mean `model`?" in text


def test_a_key_like_no_other_gets_no_suggestion() -> None:
    assert flagged("zzz.qqq=1") == ["unknown key `zzz` (flag)"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.d_model=wide", "model.d_model = 'wide' (flag): input should be a valid integer"),
        ("model.d_model=2.5", "model.d_model = 2.5 (flag): input should be a valid integer"),
        ("model.d_model=", "model.d_model = None (flag): input should be a valid integer"),
        ("model.d_model=[8]", "model.d_model = [8] (flag): input should be a valid integer"),
        (
            "model.d_model=yes",
            "model.d_model = True (flag): true and false (yes, no, on, off) do not fit here",
        ),
        (
            "model.dropout=false",
            "model.dropout = False (flag): true and false (yes, no, on, off) do not fit here",
        ),
        ("model.n_kv_heads=true", "model.n_kv_heads = True (flag): true and false"),
        ("model.d_model=0", "model.d_model = 0 (flag): input should be greater than 0"),
        ("model.dropout=1", "model.dropout = 1 (flag): input should be less than 1"),
        (
            "training.learning_rate=.inf",
            "training.learning_rate = inf (flag): input should be a finite number",
        ),
        (
            "training.learning_rate=nan",
            "training.learning_rate = 'nan' (flag): input should be a finite number",
        ),
        (
            "training.learning_rate=fast",
            "training.learning_rate = 'fast' (flag): input should be a valid number",
        ),
        ("training.betas=[0.9, 2]", "training.betas.1 = 2 (flag): input should be less than 1"),
        ("training.device=gpu", "training.device = 'gpu' (flag): string should match pattern"),
        ("model.bias=maybe", "model.bias = 'maybe' (flag): input should be a valid boolean"),
        (
            "model.norm_position=before",
            "model.norm_position = 'before' (flag): input should be 'post' or 'pre'",
        ),
        ("logging.tags=a", "logging.tags = 'a' (flag): input should be a valid list"),
        ("logging.notes=5", "logging.notes = 5 (flag): input should be a valid string"),
        ("preset=fancy", "preset = 'fancy' (flag): input should be 'paper' or 'modern'"),
        ("model=5", "model = 5 (flag): a section, its keys go below"),
    ],
)
def test_wrong_types_and_values_name_key_value_and_origin(override: str, expected: str) -> None:
    (line,) = flagged(override)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("d_model", "n_heads", "nearest"), [(512, 7, 8), (512, 3, 2), (100, 7, 5), (7, 8, 7), (64, 63, 64)]
)
def test_heads_that_do_not_fit_name_the_nearest_that_do(d_model: int, n_heads: int, nearest: int) -> None:
    lines = flagged(f"model.d_model={d_model}", f"model.n_heads={n_heads}", "model.positions=learned")
    assert lines == [
        f"model: d_model {d_model} is not divisible by n_heads {n_heads}; n_heads {nearest} would do"
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.n_kv_heads=3"], "model: n_heads 8 is not divisible by n_kv_heads 3"),
        (["model.n_kv_heads=16"], "model: n_heads 8 is not divisible by n_kv_heads 16"),
        (["model.d_model=9", "model.n_heads=3"], "model: sinusoidal positions need an even d_model; got 9"),
        (
            ["model.d_model=9", "model.n_heads=3", "model.positions=rotary"],
            "model: rotary positions need an even head width; d_model / n_heads is 3",
        ),
        (["data.dates.first_year=2040", "data.dates.last_year=2030"], "data.dates: first_year 2040 is after"),
        (["data.toy.min_length=13"], "data.toy: min_length 13 is above max_length 12"),
        (["training.warmup_steps=0"], "training: schedule noam needs warmup_steps of at least 1"),
        (
            ["training.average_checkpoints=3"],
            "training: average_checkpoints 3 is above the 2 checkpoints kept",
        ),
        (["tokenizer.shared=false"], "model.tie_weights all needs tokenizer.shared true"),
        (["evaluation.max_length=513"], "evaluation.max_length 513 is above model.max_length 512"),
    ],
)
def test_values_that_do_not_fit_together(overrides: list[str], expected: str) -> None:
    (line,) = flagged(*overrides)
    assert line.startswith(expected)


def test_a_key_below_a_key_is_unknown_whatever_the_layers() -> None:
    assert "unknown key `model.d_model.x` (flag); did you mean `model.d_model`?" in mistakes(
        "dates", ("model.d_model.x=3",)
    )
    assert flagged("model.d_model.x=3") == [
        "model.d_model = {'x': 3} (flag): input should be a valid integer"
    ]


def test_parallel_text_names_every_missing_path() -> None:
    lines = flagged("data.name=parallel", "data.parallel.train_source=a.en")
    sides = ["train_target", "valid_source", "valid_target", "test_source", "test_target"]
    assert lines == [f"data: parallel.{side} is needed by data.name parallel" for side in sides]


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    """Of every kind and origin: also those between two keys of a section in which another key is wrong."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: {d_model: 100, n_heads: 7, activation: rleu}\n"
        "trainng: {epochs: 1}\n"
        "data: {name: parallel, toy: {min_length: 13}}\n"
    )
    environ = {"STEPWISE_TRAINING__BATCH_SIZE": "-1", "STEPWISE_EVALUATION__MAX_LENGTH": "600"}
    text = mistakes(path, ("tokenizer.shared=false", "data.seeed=1"), environ)
    assert text.startswith("14 mistakes in the configuration:\n")
    for part in (
        "unknown key `trainng` (file c.yaml)",
        "model.activation = 'rleu' (file c.yaml): input should be 'relu'",
        "model: d_model 100 is not divisible by n_heads 7; n_heads 5 would do",
        "unknown key `data.seeed` (flag); did you mean `data.seed`?",
        "training.batch_size = -1 (environment): input should be greater than 0",
        "data.toy: min_length 13 is above max_length 12",
        "data: parallel.train_source is needed by data.name parallel",
        "model.tie_weights all needs tokenizer.shared true",
        "evaluation.max_length 600 is above model.max_length 512",
    ):
        assert text.count(part) == 1, part


def test_a_value_where_a_section_belongs_hides_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: 5\ntraining: {epochs: 0}\n")
    assert mistakes(path, ("model.d_model=64",)).splitlines()[1:] == [
        "  model = 5 (file c.yaml): a section, its keys go below",
        "  training.epochs = 0 (file c.yaml): input should be greater than 0",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.d_model", "expected key=value, e.g. --set model.d_model=256"),
        ("=3", "expected key=value"),
        ("model.d_model=[1", r"model.d_model=[1: not a YAML value; quote it"),
        ("logging.notes=a: b: c", "not a YAML value"),
    ],
)
def test_flags_that_are_none(override: str, expected: str) -> None:
    text = mistakes(None, (override,))
    assert expected in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.yaml", b"model: {d_model: \xff}", "not UTF-8 at byte 17"),
        ("c.yaml", b"model: [1\ntraining: 2", "at line 2, column"),
        ("c.yaml", b"model:\n\td_model: 3", "at line 2, column 1"),
        ("c.yaml", b"- model", "expected sections such as `model:` and `training:`, got a list"),
        ("c.yaml", b"just text", "got a str"),
        ("c.json", b'{"model": {"d_model": 3,}}', "line 1 column"),
        ("c.json", b"", "line 1 column 1"),
        ("c.json", b"[1]", "got a list"),
        (
            "c.yaml",
            b"training: {seed: 1}\ndata: {seed: 1}\ntraining: {epochs: 2}",
            "`training` stands twice at line 3",
        ),
        ("c.yaml", b"model: {d_model: 8, d_model: 16}", "`d_model` stands twice at line 1"),
        ("c.json", b'{"model": {"d_model": 8, "d_model": 16}}', "`d_model` stands twice"),
    ],
)
def test_files_that_cannot_be_read_say_where(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    text = mistakes(path)
    assert text.startswith(f"{path}: ")
    assert expected in text
    assert "\n" not in text


def test_a_file_that_is_not_there_gets_the_nearest_shipped_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="no configuration 'datse': neither a file nor a shipped one"
    ) as caught:
        load_config("datse")
    assert caught.value.hint == "did you mean `dates`?"
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert caught.value.hint is not None
    assert "shipped configurations: addition, copy" in caught.value.hint


KEYS = st.sampled_from([*all_keys(), "model", "data.toy", "model.d_model.x", "x", "", ".", "model."])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(values=st.dictionaries(KEYS, VALUES, max_size=6))
def test_whatever_is_given_is_loaded_or_explained(values: dict[str, Any]) -> None:
    """Never another exception, never a search for mistakes without end, and as many lines as mistakes."""
    try:
        resolved = config_from_dict(values)
    except ConfigError as error:
        heading, *lines = str(error).splitlines()
        assert int(heading.split()[0]) == len(lines) == len(set(lines)) > 0
    else:
        assert list(resolved.origins) == list(all_keys())
        assert config_from_dict(resolved.config.model_dump()).config == resolved.config


def test_sections_made_by_a_program_check_themselves() -> None:
    with pytest.raises(ValidationError, match="d_model 10 is not divisible by n_heads 3; n_heads 2 would do"):
        ModelConfig(d_model=10, n_heads=3)
    with pytest.raises(ValidationError, match="tie_weights all needs"):
        Config(tokenizer=TokenizerConfig(shared=False))


def test_dictionaries_are_checked_as_files_are() -> None:
    with pytest.raises(
        ConfigError, match=r"1 mistake in the configuration:\n  unknown key `model.width` \(given\)"
    ):
        config_from_dict({"model": {"width": 3}})
