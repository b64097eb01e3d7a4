"""projects.create, update, move, merge; and projects for tasks and models that name one."""

from stepwise_server.api.call import Call
from stepwise_server.store import projects
from stepwise_server.store.database import Transaction


def find_or_create(tx: Transaction, call: Call, name: str) -> str:
    """Return the id of the project with this name; it and its parents are created where missing.

    Args:
        tx: a writing transaction.
        call: its caller owns what is created.
        name: the full path.

    Raises:
        ApiError: 400/800 if the name is too short, 400/409 if it is too deep.
    """
    return projects.find_or_create(tx, call.user, name)
