"""What may be written into a task, checked, and how it joins what is there.

Written members of `execution`, `script` and `models` replace the same members; the others stay. `hyperparams`,
`configuration`, `runtime`, `container` and the tags are replaced as a whole: clients rely on both.
"""

from typing import Any, Literal

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import free, members, part, reference, valid_labels, valid_name
from stepwise_server.errors import ApiError, invalid
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document

TYPES = frozenset(
    [
        "training",
        "testing",
        "inference",
        "data_processing",
        "application",
        "monitor",
        "controller",
        "report",
        "optimizer",
        "service",
        "qc",
        "custom",
    ]
)


class Script(msgspec.Struct):
    """`script`."""

    binary: str | None = None
    repository: str | None = None
    tag: str | None = None
    branch: str | None = None
    version_num: str | None = None
    entry_point: str | None = None
    working_dir: str | None = None
    diff: str | None = None
    requirements: dict[str, Any] | None = None


class TypeData(msgspec.Struct):
    """`type_data` of an artifact."""

    preview: str | None = None
    content_type: str | None = None
    data_hash: str | None = None


class Artifact(msgspec.Struct):
    """One of `execution.artifacts`; a client that leaves `mode` out means an output."""

    key: str
    type: str
    mode: Literal["input", "output"] | None = None
    uri: str | None = None
    hash: str | None = None
    content_size: int | None = None
    timestamp: int | None = None
    type_data: TypeData | None = None
    display_data: list[list[str]] | None = None


class Execution(msgspec.Struct):
    """`execution`."""

    parameters: dict[str, Any] | None = None
    model_desc: dict[str, Any] | None = None
    model_labels: dict[str, int] | None = None
    framework: str | None = None
    queue: str | None = None
    dataset: str | None = None
    docker_cmd: str | None = None
    test_split: int | None = None
    artifacts: list[Artifact] | None = None


class ModelEntry(msgspec.Struct):
    """One of `models.input` or `models.output`."""

    name: str
    model: str


class Models(msgspec.Struct):
    """`models`."""

    input: list[ModelEntry] | None = None
    output: list[ModelEntry] | None = None


class Parameter(msgspec.Struct):
    """One hyperparameter; `section` and `name` may be left out where the place tells them."""

    section: str | None = None
    name: str | None = None
    value: str | None = None
    type: str | None = None
    description: str | None = None


class ConfigurationItem(msgspec.Struct):
    """One configuration."""

    name: str | None = None
    value: str | None = None
    type: str | None = None
    description: str | None = None


def read_changes(tx: Transaction, call: Call, task: Document) -> Document:
    """Return the fields that a create or edit call writes, joined with what the task has.

    Raises:
        ApiError: 400/12 for wrong types, 400/16 for unknown references, 400/800 for a short name.
    """
    changes = _plain_changes(tx, call, task)
    for name, read in _PARTS.items():
        if call.given(name):
            changes[name] = read(call.params[name], task, tx)
    output = {"destination": call.text("output_dest"), "error": call.text("error")}
    if given := {name: value for name, value in output.items() if value}:
        changes["output"] = {**task.get("output", {}), **given}
    return changes


def _plain_changes(tx: Transaction, call: Call, task: Document) -> Document:
    """Return the changes of names, labels and references."""
    changes: Document = {}
    if call.given("name"):
        changes["name"] = valid_name(call.text("name"), "task")
    if call.given("type"):
        changes["type"] = valid_type(call.text("type"))
    if call.given("comment"):
        changes["comment"] = call.text("comment")
    for tags in ("tags", "system_tags"):
        if call.given(tags):
            changes[tags] = entities.sorted_tags(call.texts(tags))
    for field, entity in (("project", entities.PROJECT), ("parent", entities.TASK)):
        if not call.given(field):
            continue
        value = call.text(field)
        # What is there already may stay, such as the mark of a deleted parent.
        changes[field] = value if value == task.get(field) else reference(tx, entity, value, field)
    return changes


def valid_type(name: str) -> str:
    """Return a type of tasks.

    Raises:
        ApiError: 400/12 if there is none of this name.
    """
    if name not in TYPES:
        raise invalid("type is no type of tasks", type=name)
    return name


def read_script(value: Any, task: Document, _tx: Transaction) -> Document:
    """Return the script: texts trimmed, except the diff, where spaces matter."""
    given = members(part(value, Script, "script"))
    for name, text in given.items():
        if isinstance(text, str) and name != "diff":
            given[name] = text.strip()
    if "requirements" in given:
        free(given["requirements"], "script.requirements")
    return {**task.get("script", {}), **given}


def read_execution(value: Any, task: Document, _tx: Transaction) -> Document:
    """Return the execution."""
    execution = part(value, Execution, "execution")
    given = members(execution)
    if execution.artifacts is not None:
        given["artifacts"] = join_artifacts([], execution.artifacts)
    if execution.model_labels is not None:
        valid_labels(execution.model_labels)
    for name in ("parameters", "model_desc"):
        if name in given:
            free(given[name], f"execution.{name}")
    return {**task.get("execution", {}), **given}


def join_artifacts(present: list[Document], artifacts: list[Artifact]) -> list[Document]:
    """Return artifacts with others added; key and mode identify one. In the order of the keys."""
    joined = {(each["key"], each["mode"]): each for each in present}
    for artifact in artifacts:
        given = members(artifact)
        given["key"], given["mode"] = artifact.key.strip(), artifact.mode or "output"
        if not given["key"]:
            raise invalid("an artifact has an empty key")
        if artifact.type_data is not None:
            given["type_data"] = members(artifact.type_data)
        joined[given["key"], given["mode"]] = given
    return [joined[identity] for identity in sorted(joined)]


def read_models(value: Any, task: Document, tx: Transaction) -> Document:
    """Return the models; a written list replaces the list."""
    models = part(value, Models, "models")
    given = {
        name: [{**members(each), "updated": tx.now} for each in entries]
        for name, entries in (("input", models.input), ("output", models.output))
        if entries is not None
    }
    return {**task.get("models", {}), **given}


def read_hyperparams(value: Any, _task: Document, _tx: Transaction) -> Document:
    """Return hyperparameters by section and name; every item knows both."""
    sections = part(value, dict[str, dict[str, Parameter]], "hyperparams")
    found: Document = {}
    for section, parameters in sections.items():
        place = found.setdefault(section_name(section), {})
        for name, parameter in parameters.items():
            item = parameter_item(section, name, parameter)
            place[item["name"]] = item
    return found


def parameter_item(section: str, name: str, parameter: Parameter) -> Document:
    """Return a hyperparameter as it is stored.

    Raises:
        ApiError: 400/12 if section or name is empty.
    """
    trimmed = name.strip()
    if not trimmed:
        raise invalid("a hyperparameter has an empty name", section=section)
    return {**members(parameter), "section": section_name(section), "name": trimmed}


def section_name(section: str) -> str:
    """Return the name of a section as it is stored; `properties` is found in any case.

    Raises:
        ApiError: 400/12 if it is empty.
    """
    trimmed = section.strip()
    if not trimmed:
        raise invalid("a section of hyperparameters has an empty name")
    return "properties" if trimmed.lower() == "properties" else trimmed


def read_configuration(value: Any, _task: Document, _tx: Transaction) -> Document:
    """Return configurations by name; every item knows its name."""
    items = part(value, dict[str, ConfigurationItem], "configuration")
    return {name.strip(): configuration_item(name, item) for name, item in items.items()}


def configuration_item(name: str, item: ConfigurationItem) -> Document:
    """Return a configuration as it is stored.

    Raises:
        ApiError: 400/12 if its name is empty.
    """
    trimmed = name.strip()
    if not trimmed:
        raise invalid("a configuration has an empty name")
    return {**members(item), "name": trimmed}


def read_runtime(value: Any, _task: Document, _tx: Transaction) -> Document:
    """Return runtime properties: any values under any keys, nulls too."""
    return free(part(value, dict[str, Any], "runtime"), "runtime")


def read_container(value: Any, _task: Document, _tx: Transaction) -> Document:
    """Return the container."""
    given = part(value, dict[str, str | None], "container")
    return {name: text for name, text in given.items() if text is not None}


_PARTS = {
    "script": read_script,
    "execution": read_execution,
    "models": read_models,
    "hyperparams": read_hyperparams,
    "configuration": read_configuration,
    "runtime": read_runtime,
    "container": read_container,
}


def check_models(tx: Transaction, entries: list[Document]) -> None:
    """Check that the models of a task exist.

    Raises:
        ApiError: 400/201 for one that does not.
    """
    for entry in entries:
        if not entities.exists(tx, entities.MODEL, entry["model"]):
            raise ApiError(400, 201, "Invalid model id", id=entry["model"])
