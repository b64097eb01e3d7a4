"""Configurations of tasks: texts with a name."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part
from stepwise_server.api.common.stamps import stamps
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks.fields import ConfigurationItem, configuration_item
from stepwise_server.api.tasks.transitions import require_status, the_task
from stepwise_server.errors import missing
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document


@endpoint("tasks.edit_configuration", writes=True)
def edit_configuration(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add or replace configurations; `replace_configuration` drops all others."""
    task = the_task(tx, call)
    if not call.given("configuration"):
        raise missing("configuration")
    given = part(call.items("configuration"), list[ConfigurationItem], "configuration")
    items = [configuration_item(each.name or "", each) for each in given]
    _check_editable(task, call)
    kept = {} if call.flag("replace_configuration") else task["configuration"]
    return {"updated": _save(tx, call, task, {**kept, **{item["name"]: item for item in items}})}


@endpoint("tasks.delete_configuration", writes=True)
def delete_configuration(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remove configurations."""
    task = the_task(tx, call)
    gone = {name.strip() for name in call.ids("configuration")}
    _check_editable(task, call)
    kept = {name: item for name, item in task["configuration"].items() if name not in gone}
    if kept == task["configuration"]:
        return {"deleted": 0}
    return {"deleted": _save(tx, call, task, kept)}


def _check_editable(task: Document, call: Call) -> None:
    require_status(task, "created", *(("queued", "in_progress") if call.flag("force") else ()))


def _save(tx: Transaction, call: Call, task: Document, configuration: Document) -> int:
    entities.save(tx, TASK, task["id"], {"configuration": configuration, **stamps(tx, call, task)})
    return 1


@endpoint("tasks.get_configurations")
def get_configurations(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return configurations of tasks, by name; only those of `names` if there are any."""
    names = set(call.texts("names"))
    found = []
    for task in entities.load_many(tx, TASK, call.ids("tasks")):
        items = [item for name, item in sorted(task["configuration"].items()) if not names or name in names]
        found.append({"task": task["id"], "configuration": items})
    return {"configurations": found}


@endpoint("tasks.get_configuration_names")
def get_configuration_names(tx: Transaction, call: Call) -> dict[str, Any]:
    """Return the names of the configurations of tasks; of tasks without any if `skip_empty` is false."""
    found = [
        {"task": task["id"], "names": sorted(task["configuration"])}
        for task in entities.load_many(tx, TASK, call.ids("tasks"))
    ]
    skip_empty = call.flag("skip_empty", default=True)
    return {"configurations": [each for each in found if each["names"] or not skip_empty]}
