"""Moving tasks and models between projects."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.stamps import stamps
from stepwise_server.store import entities, projects
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import PROJECT, Entity


def move(tx: Transaction, call: Call, entity: Entity) -> dict[str, Any]:
    """Answer `*.move`: into `project`, or into the one named `project_name`, made if it is new, or out of all.

    Raises:
        ApiError: 400/401 for an unknown project, the entity's code for an unknown id.
    """
    project: str | None = call.text("project") or None
    if project and not entities.exists(tx, PROJECT, project):
        raise PROJECT.unknown(project)
    if not project and call.text("project_name"):
        project = projects.find_or_create(tx, call.user, call.text("project_name"))
    for each in dict.fromkeys(call.ids()):
        document = entities.load(tx, entity, each)
        changes = {"project": project, **stamps(tx, call, document, content=False)}
        entities.save(tx, entity, each, changes)
        projects.touch(tx, document.get("project"))
    projects.touch(tx, project)
    return {"project_id": project}
