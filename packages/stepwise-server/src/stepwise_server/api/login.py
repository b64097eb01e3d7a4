"""auth.login, login.*: tokens for those who have a key, a password or a token."""

from typing import Any

from stepwise_server.api.call import Call, Reply
from stepwise_server.api.registry import endpoint
from stepwise_server.store.database import Transaction


@endpoint("auth.login", role="guest")
def login(_tx: Transaction, call: Call) -> Reply:
    """Answer with a token for the caller, who was recognised by key, password or an older token."""
    token = call.services.authenticator.issue(call.caller, call.number("expiration_sec"))
    return Reply({"token": token}, token=token)


@endpoint("debug.ping", role=None)
def ping(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer that the server is there."""
    return {"msg": "ClearML server"}
