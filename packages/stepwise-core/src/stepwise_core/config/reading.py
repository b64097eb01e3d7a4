"""Where a configuration is and what is written in it: files by path or by the name of a shipped one, YAML and JSON."""

import difflib
import json
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from stepwise_core.errors import ConfigError

ORIGIN_KEY = "_origin"  # in a run's config.json: where each value came from; ignored when it is loaded again
TIMESTAMP = "tag:yaml.org,2002:timestamp"
START = "stepwise config init   (writes one that works)"


def shipped_configs() -> dict[str, Path]:
    """Return {name: path} of the configurations that come with the package."""
    folder = Path(str(files("stepwise_core") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(source: str | Path) -> Path:
    """Return the file of a configuration named by path or by the name of a shipped one.

    Raises:
        ConfigError: if there is neither.
    """
    shipped = shipped_configs()
    if str(source) in shipped:
        return shipped[str(source)]
    path = Path(source)
    if path.is_dir() and (path / "config.json").is_file():
        return path / "config.json"
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(source), shipped, n=1)
    known = f"did you mean `{near[0]}`?" if near else f"shipped configurations: {', '.join(shipped)}"
    raise ConfigError(f"no configuration {str(source)!r}: neither a file nor a shipped one", hint=known)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file into a nested dictionary.

    Raises:
        ConfigError: if it cannot be read or parsed, holds no mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, object_pairs_hook=_unique) if path.suffix == ".json" else parse_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=START) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}", hint=START) from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", hint=START) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected sections such as `model:` and `training:`, got a {type(values).__name__}",
            hint=START,
        )
    values.pop(ORIGIN_KEY, None)
    return values


def parse_yaml(text: str) -> Any:
    """Parse one YAML value.

    Raises:
        ValueError: if it is none, with the reason and the place in one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = str(error).replace('in "<unicode string>", ', "at ")
        raise ValueError(" ".join(reason.split())) from None


class _Loader(yaml.SafeLoader):
    """YAML whose keys stand once, and without dates: no setting is one, and 2026-11-21 is a fine name for a run."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Make a dictionary; YAML forbids equal keys, PyYAML keeps the last one without a word."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"`{key.value}` stands twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of a JSON object's pairs.

    Raises:
        ValueError: if a key stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"`{next(name for name in names if names.count(name) > 1)}` stands twice")
    return values
