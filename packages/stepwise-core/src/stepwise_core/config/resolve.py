"""From files, environment and flags to one checked `Config`, with the origin of every value.

Precedence, lowest first: default, preset, file, `STEPWISE_…` environment, flag (`--set key=value`).
Environment names join sections with two underscores: STEPWISE_MODEL__D_MODEL=256.
"""

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stepwise_core.config.presets import preset_values
from stepwise_core.config.schema import Config
from stepwise_core.errors import ConfigError

ORIGIN_KEY = "_origin"  # in a run's config.json: where each value came from; ignored when it is loaded again


@dataclass(frozen=True)
class ResolvedConfig:
    """A checked configuration and where each of its values came from.

    Attributes:
        config: the configuration.
        origins: {dotted key: "default" | "preset …" | "file …" | "environment …" | "flag"}.
    """

    config: Config
    origins: dict[str, str]

    def to_json(self) -> str:
        """Return the text of a run's `config.json`: loadable, with the origins beside the values."""
        return json.dumps({**self.config.model_dump(mode="json"), ORIGIN_KEY: self.origins}, indent=2) + "\n"


def shipped_configs() -> dict[str, Path]:
    """Return {name: path} of the configurations that come with the package."""
    folder = Path(str(files("stepwise_core") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def all_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the tree, depth first."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from all_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def load_config(
    source: str | Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> ResolvedConfig:
    """Resolve a configuration.

    Args:
        source: a path (.json, .yaml, .yml), the name of a shipped configuration, or None for the defaults.
        overrides: `key=value` flags; values are read as YAML.
        environ: environment to read `STEPWISE_…` from; None = the process's.

    Raises:
        ConfigError: with every mistake found, one line each.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    if source is not None:
        path = find_config(source)
        layers.append((f"file {path.name}", _flatten(read_config_file(path))))
    layers.append(("environment", _from_environment(os.environ if environ is None else environ)))
    layers.append(("flag", dict(_parse_override(text) for text in overrides)))
    return _resolve(layers)


def config_from_dict(values: Mapping[str, Any]) -> ResolvedConfig:
    """Check a nested dictionary, e.g. one made by a program or read from a run.

    Raises:
        ConfigError: with every mistake found, one line each.
    """
    return _resolve([("given", _flatten(dict(values)))])


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
        ConfigError: if it cannot be read or parsed, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: expected sections such as `model:` and `training:`, got a {type(values).__name__}"
        )
    values.pop(ORIGIN_KEY, None)
    return values


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
    findings = _findings(values)
    if findings:
        raise _explain(findings, origins)
    return ResolvedConfig(Config.model_validate(_nest(values)), origins)


def _findings(values: dict[str, Any]) -> list[ErrorDetails]:
    """Return everything that is wrong with flat values.

    Checks that span two keys of a section run only where each key by itself is right. So the keys found wrong
    are taken out and the rest is checked again, until nothing new turns up.
    """
    findings: list[ErrorDetails] = []
    values = dict(values)
    while True:
        try:
            Config.model_validate(_nest(values))
        except ValidationError as error:
            found = error.errors(include_url=False)
            findings += [finding for finding in found if finding not in findings]
            wrong = {".".join(map(str, finding["loc"])) for finding in found if finding["type"] != "section"}
            kept = {
                key: value for key, value in values.items() if not any(_within(key, name) for name in wrong)
            }
            if len(kept) == len(values):
                return findings
            values = kept
        else:
            return findings


def _within(key: str, place: str) -> bool:
    """Whether a dotted key is a place in the tree, lies below it, or holds it (an element of a list)."""
    return key == place or key.startswith(f"{place}.") or place.startswith(f"{key}.")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read STEPWISE_SECTION__KEY variables; others that start with STEPWISE_ belong to the command line."""
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        key = name.removeprefix("STEPWISE_").lower().replace("__", ".")
        if name.startswith("STEPWISE_") and ("." in key or key == "preset"):
            values[key] = _parse_value(key, text)
    return values


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: expected key=value, e.g. --set model.d_model=256")
    return key.strip(), _parse_value(key.strip(), value)


def _parse_value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{key}={text}: not a YAML value; quote it") from None


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"d_model": 8}} -> {"model.d_model": 8}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.d_model": 8} -> {"model": {"d_model": 8}}; a value where a section belongs is kept and reported."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        place = nested
        for name in parents:
            child = place.setdefault(name, {})
            if not isinstance(child, dict):
                break
            place = child
        else:
            place[leaf] = value
    return nested


def _explain(findings: list[ErrorDetails], origins: Mapping[str, str]) -> ConfigError:
    """Turn pydantic's findings into one line each, naming key, value, origin and the nearest valid name."""
    lines = []
    for finding in findings:
        location = [str(part) for part in finding["loc"]]
        key = ".".join(location)
        if finding["type"] == "extra_forbidden":
            lines.append(f"unknown key `{key}`{_origin(origins, key)}{_nearest(key)}")
        elif finding["type"] == "section":
            prefix = f"{key}: " if key else ""
            lines += [prefix + line for line in finding["ctx"]["problems"].split("\n")]
        else:
            message = finding["msg"][0].lower() + finding["msg"][1:]
            lines.append(f"{key} = {finding['input']!r}{_origin(origins, key)}: {message}")
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "1 mistake"
    text = "\n".join(f"  {line}" for line in lines)
    return ConfigError(f"{count} in the configuration:\n{text}", hint="stepwise config schema   (all keys)")


def _origin(origins: Mapping[str, str], key: str) -> str:
    origin = origins.get(key)
    return f" ({origin})" if origin and origin != "default" else ""


def _nearest(key: str) -> str:
    """Suggest a valid key: near in spelling as a whole, or the same last name in another section."""
    known = list(all_keys())
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    near = same_leaf or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not near:
        leaves = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [leaves[name] for name in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    return f"; did you mean `{near[0]}`?" if near else ""
