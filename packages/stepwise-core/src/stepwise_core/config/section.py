"""What all sections of the configuration share: strictness, and how they report keys that do not fit together."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Unknown keys are errors, values cannot change after loading, numbers are finite."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _switches_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true where a number belongs: Python takes it for 1, and YAML takes `yes` for true."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise PydanticCustomError("switch", "true and false (yes, no, on, off) do not fit here")
        return value


def fail(section: str, problems: list[str], info: ValidationInfo) -> None:
    """Report keys of a section that do not fit together.

    Args:
        section: dotted name of the section; empty for the whole tree.
        problems: what does not fit, one line each.
        info: of the validation; where its context is a list, the problems go there and the checks go on.

    Raises:
        PydanticCustomError: with all problems, if there are some and no list to put them in.
    """
    lines = [f"{section}: {problem}" if section else problem for problem in problems]
    if info.context is not None:
        info.context.extend(lines)
    elif lines:
        raise PydanticCustomError("section", "{problems}", {"problems": "\n".join(lines)})
