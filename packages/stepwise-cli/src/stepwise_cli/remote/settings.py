"""Settings of a run as a ClearML task has them: texts in sections, `training/learning_rate`."""

from collections.abc import Mapping
from typing import Any

ORIGIN = "clearml task"
"""Where such settings came from, in `config.json`."""

NO_SETTINGS = {"dataset", "Datasets", "ablation", "properties"}
"""Sections that tell of a run and do not steer it; a key in any other one that is no setting is a mistake."""

GENERAL = "General"
"""Section of what is in none."""


def settings_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a task: texts by dotted key."""
    texts: dict[str, str] = {}
    for section, items in (task.get("hyperparams") or {}).items():
        if section in NO_SETTINGS:
            continue
        prefix = "" if section == GENERAL else f"{section}."
        for name, item in items.items():
            texts[prefix + name.replace("/", ".")] = str(item.get("value") or "")
    return texts


def data_version_of(task: Mapping[str, Any]) -> str | None:
    """Return the version of the data that a task's run learned from, if that is known."""
    version = (task.get("hyperparams") or {}).get("dataset", {}).get("version", {}).get("value")
    return str(version) if version else None


def hyperparameters(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return settings, values by dotted key, as hyperparameters of a task."""
    from stepwise_track.backends.clearml.task import parameters

    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return parameters(tree)
