"""The configuration described key by key, for the reference page and `stepwise config schema`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from stepwise_core.config.schema import Config


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        name: dotted, e.g. `model.d_model`.
        type: what it accepts, in words.
        default: as JSON.
        meaning: one sentence.
    """

    name: str
    type: str
    default: str
    meaning: str


def describe_keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[Key]:
    """Yield every key of the tree in the order of the schema."""
    properties: dict[str, Any] = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from describe_keys(field.annotation, f"{prefix}{name}.")
        else:
            default = json.dumps(field.get_default())
            yield Key(prefix + name, _type(properties[name]), default, (field.description or "").strip())


def _type(schema: dict[str, Any]) -> str:
    """Say what a JSON schema accepts: `integer > 0`, `post | pre`, `number or null`."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema["type"] == "array":
        inner = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {_type(inner)}"
    limits = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    return " ".join([schema["type"], *bounds])
