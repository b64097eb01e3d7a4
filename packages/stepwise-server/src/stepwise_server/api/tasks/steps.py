"""The steps of a pipeline: tasks whose parent is the pipeline's run."""

from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import TASK, Document


def pipeline_steps(tx: Transaction, task: Document) -> list[Document]:
    """Return the steps of a pipeline's run; none for other tasks."""
    if task["type"] != "controller" and "pipeline" not in task["system_tags"]:
        return []
    return entities.load_many(tx, TASK, tx.column("SELECT id FROM tasks WHERE parent = ?", [task["id"]]))
