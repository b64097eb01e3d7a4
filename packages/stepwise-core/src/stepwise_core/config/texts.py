"""Settings from a place that knows nothing but text, such as the form of a tracker: the schema says what each is."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from stepwise_core.config.reading import parse_yaml
from stepwise_core.config.schema import Config

NOTHING = ("", "null", "None")
"""What stands for no value, where there may be none: trackers show it as an empty field, Python writes None."""


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that texts mean, by their dotted keys.

    A text stays one where the schema takes text: `0012` is a fine name for a run. Elsewhere it is read as YAML,
    like a flag's value. What is no key or no value stays as it is, for the checks that follow to report.
    """
    return {key: _from_text(_type_of(key), text) for key, text in texts.items()}


def _type_of(key: str) -> TypeAdapter[Any] | None:
    """Return what a dotted key accepts; None for an unknown one."""
    section: type[BaseModel] = Config
    *names, leaf = key.split(".")
    for name in names:
        field = section.model_fields.get(name)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return None
        section = field.annotation
    return (
        TypeAdapter(section.model_fields[leaf].rebuild_annotation()) if leaf in section.model_fields else None
    )


def _from_text(kind: TypeAdapter[Any] | None, text: str) -> Any:
    if kind is None:
        return text
    if text in NOTHING and _accepts(kind, None):
        return None
    if _accepts(kind, text):
        return text
    try:
        return parse_yaml(text)
    except ValueError:
        return text


def _accepts(kind: TypeAdapter[Any], value: Any) -> bool:
    """Whether a value is right as it is, without any conversion."""
    try:
        kind.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
