"""Settings on their way through a tracker, which knows nothing but text: what comes back is what went."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_cli.remote.settings import data_version_of, settings_of
from stepwise_core.config import Config, config_from_dict, load_config, shipped_configs
from stepwise_core.errors import ConfigError
from stepwise_track.backends.clearml.task import parameters


def as_task(config: Config) -> dict[str, object]:
    """Return the part of a task that the ClearML backend makes of a configuration."""
    sections: dict[str, dict[str, dict[str, str]]] = {}
    for item in parameters(config.model_dump(mode="json")):
        sections.setdefault(item["section"], {})[item["name"]] = item
    return {"hyperparams": sections}


def back(task: dict[str, object]) -> Config:
    return load_config(None, environ={}, tasks={"clearml task": settings_of(task)}).config


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_every_shipped_configuration_comes_back(name: str) -> None:
    config = load_config(name, environ={}).config
    assert back(as_task(config)) == config


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
NAMED = WORDS.filter(lambda text: text not in ("", "null", "None"))


@settings(max_examples=150, deadline=None)
@given(
    notes=WORDS, entity=st.none() | NAMED, tags=st.lists(WORDS, max_size=3),
    languages=st.none() | st.lists(WORDS, max_size=3), rate=st.floats(1e-12, 1e6), eps=st.floats(1e-300, 1.0),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)), steps=st.none() | st.integers(1, 10**12),
    compile=st.booleans(), path=st.none() | NAMED,
)  # fmt: skip
def test_any_value_comes_back(
    notes: str, entity: str | None, tags: list[str], languages: list[str] | None, rate: float, eps: float,
    betas: tuple[float, float], steps: int | None, compile: bool, path: str | None,
) -> None:  # fmt: skip
    config = config_from_dict(
        {
            "data": {"dates": {"languages": languages}, "parallel": {"train_source": path}},
            "training": {
                "learning_rate": rate, "eps": eps, "betas": betas, "max_steps": steps, "compile": compile,
            },
            "logging": {"notes": notes, "entity": entity, "tags": tags},
        }
    ).config  # fmt: skip
    assert back(as_task(config)) == config


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.epochs", "7", 7),
        ("training.epochs", "7.0", 7),
        ("training.learning_rate", "1e-3", 1e-3),
        ("training.compile", "True", True),
        ("training.compile", "false", False),
        ("training.max_steps", "", None),
        ("training.max_steps", "None", None),
        ("training.betas", "(0.8, 0.9)", None),
        ("training.betas", "[0.8, 0.9]", (0.8, 0.9)),
        ("logging.tags", "['a', \"b\"]", ["a", "b"]),
        ("logging.notes", "true", "true"),
        ("logging.notes", "0012", "0012"),
        ("logging.notes", "", ""),
        ("logging.entity", "", None),
        ("data.version", "1234567890123456", "1234567890123456"),
        ("data.dates.first_year", "2001", 2001),
    ],
)
def test_what_people_write_is_understood(key: str, text: str, value: object) -> None:
    def resolved() -> object:
        found: object = load_config(None, environ={}, tasks={"clearml task": {key: text}}).config
        for name in key.split("."):
            found = getattr(found, name)
        return found

    if value is None and text.startswith("("):
        with pytest.raises(ConfigError, match=r"\(clearml task\)"):
            resolved()
    else:
        assert resolved() == value


def test_the_task_is_the_strongest_source() -> None:
    resolved = load_config(
        "dates",
        ["training.epochs=3"],
        {"STEPWISE_TRAINING__EPOCHS": "4", "STEPWISE_TRAINING__SEED": "9"},
        {"clearml task": {"training.epochs": "5"}},
    )
    assert (resolved.config.training.epochs, resolved.origins["training.epochs"]) == (5, "clearml task")
    assert resolved.origins["training.seed"].startswith("environment")


@pytest.mark.parametrize(
    ("section", "name", "complaint"),
    [
        ("training", "epoch", "unknown key `training.epoch` (clearml task); did you mean `training.epochs`?"),
        ("Args", "training.epochs", "unknown key"),
        ("General", "epochs", "did you mean `training.epochs`?"),
        ("training", "", "unknown key"),
    ],
)
def test_what_is_no_setting_is_said(section: str, name: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        back({"hyperparams": {section: {name: {"value": "3"}}}})
    assert complaint in str(caught.value)


def test_what_tells_of_a_run_is_no_setting() -> None:
    told = {"dataset": {"version": {"value": "0123456789abcdef"}}, "properties": {"a": {"value": "1"}}}
    assert settings_of({"hyperparams": told}) == {}
    assert data_version_of({"hyperparams": told}) == "0123456789abcdef"
    assert data_version_of({}) is None
