"""From files, environment and flags to one checked `Config`, with the origin of every value.

Precedence, lowest first: default, preset, file, `STEPWISE_…` environment, flag (`--set key=value`), task: what
somebody edited on a tracker's server, for an agent to run.
Environment names join sections with two underscores: STEPWISE_MODEL__D_MODEL=256.
"""

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stepwise_core.config.presets import preset_values
from stepwise_core.config.reading import ORIGIN_KEY, find_config, parse_yaml, read_config_file
from stepwise_core.config.schema import Config
from stepwise_core.config.texts import from_texts
from stepwise_core.errors import ConfigError

ALL_KEYS = "stepwise config schema   (all keys)"


@dataclass(frozen=True)
class ResolvedConfig:
    """A checked configuration and where each of its values came from.

    Attributes:
        config: the configuration.
        origins: {dotted key: "default" | "preset …" | "file …" | "environment …" | "flag" | a task}.
    """

    config: Config
    origins: dict[str, str]

    def to_json(self) -> str:
        """Return the text of a run's `config.json`: loadable, with the origins beside the values."""
        return json.dumps({**self.config.model_dump(mode="json"), ORIGIN_KEY: self.origins}, indent=2) + "\n"


def all_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the tree, depth first."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from all_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _sections(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every section of the tree."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield prefix + name
            yield from _sections(field.annotation, f"{prefix}{name}.")


def load_config(
    source: str | Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    tasks: Mapping[str, Mapping[str, str]] | None = None,
) -> ResolvedConfig:
    """Resolve a configuration.

    Args:
        source: a path (.json, .yaml, .yml), the name of a shipped configuration, or None for the defaults.
        overrides: `key=value` flags; values are read as YAML.
        environ: environment to read `STEPWISE_…` from; None = the process's.
        tasks: settings of tasks, as texts by dotted key, by their origin; the last are the strongest.

    Raises:
        ConfigError: with every mistake found, one line each.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    if source is not None:
        path = find_config(source)
        layers.append((f"file {path.name}", _flatten(read_config_file(path))))
    layers.append(("environment", _from_environment(os.environ if environ is None else environ)))
    flags: dict[str, Any] = {}
    for text in overrides:
        flags |= _parse_override(text)
    layers.append(("flag", flags))
    layers += [(origin, _flatten(from_texts(texts))) for origin, texts in (tasks or {}).items()]
    return _resolve(layers)


def config_from_dict(values: Mapping[str, Any]) -> ResolvedConfig:
    """Check a nested dictionary, e.g. one made by a program or read from a run.

    Raises:
        ConfigError: with every mistake found, one line each.
    """
    return _resolve([("given", _flatten(dict(values)))])


def _resolve(layers: list[tuple[str, dict[str, Any]]]) -> ResolvedConfig:
    """Merge flat layers (lowest first) over the preset they choose, and check the result."""
    chosen = next((layer["preset"] for _, layer in reversed(layers) if "preset" in layer), None)
    if chosen in ("paper", "modern"):  # anything else is reported by the validation below
        layers = [(f"preset {chosen}", preset_values(chosen)), *layers]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(all_keys(), "default")
    for origin, layer in layers:
        for key, value in layer.items():
            values[key] = value
            origins[key] = origin
    findings, problems = _findings(values)
    if findings or problems:
        raise _explain(findings, problems, origins)
    return ResolvedConfig(Config.model_validate(_nest(values)), origins)


def _findings(values: dict[str, Any]) -> tuple[list[ErrorDetails], list[str]]:
    """Return everything that is wrong with flat values: with single keys, and with keys that do not fit together.

    Checks that span two keys of a section run only where each key by itself is right. So the keys found wrong
    are taken out and the rest is checked again, until every check has run.
    """
    findings: list[ErrorDetails] = []
    while True:
        problems: list[str] = []
        try:
            Config.model_validate(_nest(values), context=problems)
        except ValidationError as error:
            found = error.errors(include_url=False)
            findings += found
            wrong = {".".join(map(str, finding["loc"])) for finding in found}
            values = {
                key: value for key, value in values.items() if not any(_within(key, name) for name in wrong)
            }
        else:
            return findings, problems


def _within(key: str, place: str) -> bool:
    """Whether a dotted key is a place in the tree, lies below it, or holds it (an element of a list)."""
    return key == place or key.startswith(f"{place}.") or place.startswith(f"{key}.")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read STEPWISE_SECTION__KEY variables; others that start with STEPWISE_ belong to the command line."""
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        key = name.removeprefix("STEPWISE_").lower().replace("__", ".")
        if name.startswith("STEPWISE_") and ("." in key or key == "preset"):
            values |= _flatten({key: _parse_value(key, text)})
    return values


def _parse_override(text: str) -> dict[str, Any]:
    """Read `key=value` as a flat dictionary: of one key, or of those of a section given as a whole."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: expected key=value, e.g. --set model.d_model=256", hint=ALL_KEYS)
    return _flatten({key.strip(): _parse_value(key.strip(), value)})


def _parse_value(key: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError:
        raise ConfigError(f"{key}={text}: not a YAML value; quote it", hint=ALL_KEYS) from None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"d_model": 8}} -> {"model.d_model": 8}; a section with nothing in it (`model:`) is left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{key}."))
        elif value is not None or key not in set(_sections()):
            flat[key] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.d_model": 8} -> {"model": {"d_model": 8}}.

    Where there is a value already (`model: 5`, or `model.d_model.x`), the rest of the key keeps its dots, and is
    reported as unknown.
    """
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        place, rest = nested, key
        while "." in rest:
            name, below = rest.split(".", 1)
            child = place.setdefault(name, {})
            if not isinstance(child, dict):
                break
            place, rest = child, below
        place[rest] = value
    return nested


def _explain(findings: list[ErrorDetails], problems: list[str], origins: Mapping[str, str]) -> ConfigError:
    """Give each of pydantic's findings a line that names key, value, origin and the nearest valid name."""
    lines: list[str] = []
    known = set(all_keys())
    for finding in findings:
        key = ".".join(str(part) for part in finding["loc"])
        match finding["type"]:
            case "extra_forbidden" if key in known:
                pass  # right, but below a value where its section belongs, which has a line of its own
            case "extra_forbidden":
                lines.append(f"unknown key `{key}`{_origin(origins, key)}{_nearest(key)}")
            case "model_type":
                lines.append(
                    f"{key} = {finding['input']!r}{_origin(origins, key)}: a section, its keys go below"
                )
            case _:
                message = finding["msg"][0].lower() + finding["msg"][1:]
                lines.append(f"{key} = {finding['input']!r}{_origin(origins, key)}: {message}")
    lines += problems
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "1 mistake"
    text = "\n".join(f"  {line}" for line in lines)
    return ConfigError(f"{count} in the configuration:\n{text}", hint=ALL_KEYS)


def _origin(origins: Mapping[str, str], key: str) -> str:
    """Say where a key's value came from; an element of a list and an unknown section go by their neighbours."""
    origin = origins.get(key, "default")
    if origin == "default":
        near = (where for name, where in origins.items() if _within(name, key) and where != "default")
        origin = next(near, origin)
    return f" ({origin})" if origin != "default" else ""


def _nearest(key: str) -> str:
    """Suggest a valid key: near in spelling as a whole, or the same last name in another section."""
    known = [*_sections(), *all_keys()]
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    near = same_leaf or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not near:
        leaves = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    return f"; did you mean `{near[0]}`?" if near else ""
