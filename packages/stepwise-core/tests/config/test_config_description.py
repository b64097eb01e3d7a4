"""The configuration as it is described: every key, its type, default and meaning; the JSON schema for editors."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from stepwise_core.config import Config, all_keys, load_config
from stepwise_core.config.describe import Key, describe_keys

KEYS = {key.name: key for key in describe_keys()}


def test_every_key_is_described() -> None:
    described = list(describe_keys())
    assert [key.name for key in described] == list(all_keys())
    assert all(key.meaning and not key.meaning.startswith("TODO") for key in described)


def test_the_seeds_sections_and_keys_are_there() -> None:
    names = set(all_keys())
    assert {name.split(".")[0] for name in names} == {
        *("preset", "model", "data", "tokenizer", "training", "evaluation", "logging"),
    }
    logging = (
        "project_name experiment_name tags notes entity log_model log_code log_artifacts log_training_every "
        "log_validation_every log_gradient_norms log_learning_rate log_memory_usage log_compute_time"
    )
    training = "batch_size learning_rate epochs label_smoothing gradient_clipping"
    assert {f"logging.{name}" for name in logging.split()} <= names
    assert {f"training.{name}" for name in training.split()} <= names
    assert {"model.d_model", "model.n_heads", "model.n_layers"} <= names


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_the_described_default_can_be_given(key: Key) -> None:
    """A default is JSON and a valid value, and giving it changes nothing."""
    json.loads(key.default)
    assert load_config(None, [f"{key.name}={key.default}"], environ={}).config == Config()


@pytest.mark.parametrize(
    ("name", "type_", "default"),
    [
        ("preset", "paper | modern", '"paper"'),
        ("model.type", "transformer", '"transformer"'),
        ("model.d_model", "integer > 0", "512"),
        ("model.n_kv_heads", "integer > 0 or null", "null"),
        ("model.dropout", "number >= 0 < 1", "0.1"),
        ("model.bias", "boolean", "true"),
        ("model.norm_position", "post | pre", '"post"'),
        ("data.dates.languages", "list of string or null", "null"),
        ("training.betas", "list of number >= 0 < 1", "[0.9, 0.98]"),
        ("training.device", "string", '"auto"'),
        ("logging.tags", "list of string", "[]"),
    ],
)
def test_types_in_words(name: str, type_: str, default: str) -> None:
    assert (KEYS[name].type, KEYS[name].default) == (type_, default)


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def test_the_json_schema_is_whole() -> None:
    """Every reference resolves, unknown keys are refused everywhere, and it holds the keys of the tree."""
    schema = json.loads(json.dumps(Config.model_json_schema()))
    sections = schema["$defs"]
    found = set(references(schema))
    assert found == {f"#/$defs/{name}" for name in sections}

    def keys(section: dict[str, Any], prefix: str = "") -> Iterator[str]:
        assert section["type"] == "object"
        assert section["additionalProperties"] is False
        assert "required" not in section  # everything has a default
        for name, value in section["properties"].items():
            reference = next(references(value), None)
            if reference is None:
                assert value["description"]
                assert {"type", "anyOf", "enum", "const"} & set(value)
                yield prefix + name
            else:
                yield from keys(sections[reference.rsplit("/", 1)[-1]], f"{prefix}{name}.")

    assert list(keys(schema)) == list(all_keys())


def test_patterns_in_the_schema_are_regular_expressions() -> None:
    pattern = Config.model_json_schema()["$defs"]["TrainingConfig"]["properties"]["device"]["pattern"]
    assert all(re.search(pattern, device) for device in ("auto", "cpu", "mps", "cuda", "cuda:3"))
    assert not any(re.search(pattern, device) for device in ("gpu", "cuda:", "cpu:1", "tpu cuda"))


def test_configuration_needs_no_torch() -> None:
    """So that `stepwise config` answers at once."""
    program = (
        "import sys; from stepwise_core.config import load_config; from stepwise_core.config.describe import Key; "
        "load_config('dates', environ={}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
