"""serving.*: model endpoints. This server has none; the web app asks for them all the same."""

from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.store.database import Transaction


@endpoint("serving.get_endpoints")
def get_endpoints(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """List the models that are served: none."""
    return {"endpoints": []}


@endpoint("serving.get_loading_instances")
def get_loading_instances(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """List the models that are about to be served: none."""
    return {"instances": []}
