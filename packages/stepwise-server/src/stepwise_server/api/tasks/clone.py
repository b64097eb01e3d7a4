"""tasks.clone: a draft with the inputs of another task."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import part, reference, valid_name
from stepwise_server.api.registry import endpoint
from stepwise_server.api.tasks import fields
from stepwise_server.api.tasks.create import insert_task
from stepwise_server.api.tasks.transitions import the_task
from stepwise_server.errors import invalid
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document

COPIED = ("type", "comment", "script", "hyperparams", "configuration", "container", "tags", "project")
OF_A_RUN = frozenset({"development", "archived"})
"""System tags that say something of a run, not of what is run."""


@endpoint("tasks.clone", writes=True)
def clone(tx: Transaction, call: Call) -> dict[str, Any]:
    """Copy a task; the copy's hyperparameters and the like can be given."""
    source = the_task(tx, call)
    document = copy_of(tx, source)
    _apply_given(tx, call, document)
    new_project: dict[str, Any] = {}
    if call.given("new_project_name"):
        if call.given("new_task_project"):
            raise invalid("new_task_project and new_project_name exclude each other")
        document["project"] = projects.find_or_create(tx, call.user, call.text("new_project_name"))
        name = tx.value("SELECT name FROM projects WHERE id = ?", [document["project"]])
        new_project = {"new_project": {"id": document["project"], "name": name}}
    if call.flag("validate_references"):
        fields.check_models(tx, document["models"]["input"])
    return {"id": insert_task(tx, call, document), **new_project}


def copy_of(tx: Transaction, source: Document) -> Document:
    """Return the inputs of a task, as fields of a new one: without outputs, metrics and traces of a run."""
    document: Document = {name: source[name] for name in COPIED if name in source}
    document["name"] = source["name"]
    document["system_tags"] = [tag for tag in source["system_tags"] if tag not in OF_A_RUN]
    execution = {name: value for name, value in source["execution"].items() if name != "queue"}
    execution["artifacts"] = [each for each in execution["artifacts"] if each["mode"] == "input"]
    document["execution"] = execution
    document["models"] = {"input": source["models"]["input"], "output": []}
    if destination := source["output"].get("destination"):
        document["output"] = {"destination": destination}
    parent = source.get("parent")
    document["parent"] = parent if entities.exists(tx, TASK, parent) else source["id"]
    return document


def _apply_given(tx: Transaction, call: Call, document: Document) -> None:
    """Put what the call gives in the place of what was copied."""
    if call.given("new_task_name"):
        document["name"] = valid_name(call.text("new_task_name"), "task")
    if call.given("new_task_comment"):
        document["comment"] = call.text("new_task_comment")
    for name in ("tags", "system_tags"):
        if call.given(f"new_task_{name}"):
            document[name] = call.texts(f"new_task_{name}")
    if call.text("new_task_parent"):
        document["parent"] = reference(tx, TASK, call.text("new_task_parent"), "new_task_parent")
    if call.text("new_task_project"):
        project = call.text("new_task_project")
        document["project"] = reference(tx, entities.PROJECT, project, "new_task_project")
    readers = {
        "hyperparams": fields.read_hyperparams,
        "configuration": fields.read_configuration,
        "container": fields.read_container,
    }
    for name, read in readers.items():
        if call.given(f"new_task_{name}"):
            document[name] = read(call.params[f"new_task_{name}"], document, tx)
    if call.given("new_task_input_models"):
        given = part(call.items("new_task_input_models"), list[dict[str, Any]], "new_task_input_models")
        document["models"] = fields.read_models({"input": given}, document, tx)
    if call.given("execution_overrides"):
        document["execution"] = fields.read_execution(
            call.params["execution_overrides"], {"execution": document["execution"]}, tx
        )
        document["execution"].pop("queue", None)
