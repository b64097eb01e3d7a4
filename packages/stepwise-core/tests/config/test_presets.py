"""The presets, and the table of deviations from the paper they come from."""

import ast
from pathlib import Path

import pytest

from stepwise_core.config import DEVIATIONS, Config, Deviation, all_keys, load_config
from stepwise_core.config.presets import preset_values

TESTS = Path(__file__).parents[1]
ROWS = pytest.mark.parametrize("row", DEVIATIONS, ids=[row.key for row in DEVIATIONS])


def value_of(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


@ROWS
def test_the_default_is_the_papers_value(row: Deviation) -> None:
    assert value_of(Config(), row.key) == row.paper
    assert value_of(load_config(None, ["preset=paper"], environ={}).config, row.key) == row.paper


@ROWS
def test_the_modern_preset_has_the_modern_value_and_says_so(row: Deviation) -> None:
    resolved = load_config(None, ["preset=modern"], environ={})
    assert value_of(resolved.config, row.key) == row.modern != row.paper
    assert resolved.origins[row.key] == "preset modern"


def test_the_presets_differ_in_nothing_else() -> None:
    paper, modern = (load_config(None, [f"preset={name}"], environ={}).config for name in ("paper", "modern"))
    different = {key for key in all_keys() if value_of(paper, key) != value_of(modern, key)}
    assert different == {row.key for row in DEVIATIONS} | {"preset"}
    assert paper == Config()


def test_the_table_is_complete() -> None:
    keys = [row.key for row in DEVIATIONS]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(all_keys())
    assert all(row.section and row.why for row in DEVIATIONS)
    assert all(preset_values(name).keys() == set(keys) for name in ("paper", "modern"))
    with pytest.raises(KeyError, match="fancy"):
        preset_values("fancy")


def names_of_tests(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.skipif(not (TESTS / "components").is_dir(), reason="the package's other tests are not here")
@ROWS
def test_the_test_that_a_row_names_exists(row: Deviation) -> None:
    file, name = row.test.split("::")
    places = list(TESTS.rglob(file))
    assert places, f"no {file}"
    assert name in names_of_tests(places[0])


def test_paper_values_are_those_of_the_paper() -> None:
    """Vaswani et al. (2017), table 3, row "base", and sections 3.4, 5.3, 5.4 and 6.1."""
    config = Config()
    assert (config.model.d_model, config.model.n_heads, config.model.n_layers) == (512, 8, 6)
    assert config.model.feed_forward_width == 2048
    assert (config.model.dropout, config.training.label_smoothing) == (0.1, 0.1)
    assert (config.model.norm_position, config.model.activation, config.model.positions) == (
        "post",
        "relu",
        "sinusoidal",
    )
    assert (config.model.tie_weights, config.model.scale_embeddings) == ("all", True)
    assert (config.training.schedule, config.training.warmup_steps) == ("noam", 4000)
    assert (config.training.betas, config.training.eps) == ((0.9, 0.98), 1e-9)
    assert config.evaluation.length_penalty == 0.6
