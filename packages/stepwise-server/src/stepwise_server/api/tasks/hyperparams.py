"""Hyperparameters of tasks, one by one."""

from typing import Any

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import Parameter, parameter_item, section_name
from stepwise_server.api.tasks.transitions import require_status, the_task
from stepwise_server.errors import invalid, missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

PROPERTIES = "properties"
"""The section of user properties: labels rather than inputs, so they may change in any status."""


class ParameterKey(msgspec.Struct):
    """Which hyperparameter; without a name, which section."""

    section: str
    name: str | None = None


@endpoint("tasks.edit_hyper_params", writes=True)
def edit_hyper_params(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add or replace hyperparameters; `replace_hyperparams` says what is dropped before."""
    task = the_task(tx, call)
    if not call.given("hyperparams"):
        raise missing("hyperparams")
    items = [_item(each) for each in part(call.items("hyperparams"), list[Parameter], "hyperparams")]
    replaced = call.text("replace_hyperparams", "none")
    if replaced not in ("none", "section", "all"):
        raise invalid("replace_hyperparams is none, section or all", value=replaced)
    _check_editable(task, call, {item["section"] for item in items}, everything=replaced == "all")
    kept = {} if replaced == "all" else dict(task["hyperparams"])
    if replaced == "section":
        kept = {name: kept[name] for name in kept.keys() - {item["section"] for item in items}}
    for item in items:
        kept[item["section"]] = {**kept.get(item["section"], {}), item["name"]: item}
    return {"updated": _save(tx, call, task, kept, {item["section"] for item in items})}


def _item(parameter: Parameter) -> Document:
    """Return a hyperparameter as it is stored."""
    return parameter_item(parameter.section or "", parameter.name or "", parameter)


@endpoint("tasks.delete_hyper_params", writes=True)
def delete_hyper_params(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remove hyperparameters, or whole sections."""
    task = the_task(tx, call)
    if not call.given("hyperparams"):
        raise missing("hyperparams")
    keys = part(call.items("hyperparams"), list[ParameterKey], "hyperparams")
    sections = {section_name(key.section) for key in keys}
    _check_editable(task, call, sections)
    kept = {section: dict(parameters) for section, parameters in task["hyperparams"].items()}
    for key in keys:
        section = section_name(key.section)
        if key.name is None:
            kept.pop(section, None)
        elif section in kept:
            kept[section].pop(key.name.strip(), None)
    if kept == task["hyperparams"]:
        return {"deleted": 0}
    return {"deleted": _save(tx, call, task, {name: kept[name] for name in kept if kept[name]}, sections)}


def _check_editable(task: Document, call: Call, sections: set[str], *, everything: bool = False) -> None:
    """Check the status: inputs belong to drafts, or with force to tasks that have not ended."""
    if sections == {PROPERTIES} and not everything:
        return
    require_status(task, "created", *(("queued", "in_progress") if call.flag("force") else ()))


def _save(tx: Transaction, call: Call, task: Document, hyperparams: Document, sections: set[str]) -> int:
    changed = stamps(tx, call, task, content=sections != {PROPERTIES})
    entities.save(tx, TASK, task["id"], {"hyperparams": hyperparams, **changed})
    return 1


@endpoint("tasks.get_hyper_params")
def get_hyper_params(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the hyperparameters of tasks, by section and name."""
    return {
        "params": [
            {
                "task": task["id"],
                "hyperparams": [
                    parameters[name]
                    for _, parameters in sorted(task["hyperparams"].items())
                    for name in sorted(parameters)
                ],
            }
            for task in entities.load_many(tx, TASK, call.ids("tasks"))
        ]
    }
