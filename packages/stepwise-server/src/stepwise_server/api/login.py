"""auth.login, login.*: tokens for those who have a key, a password or a token, and an end to them."""

from typing import Any

from stepwise_server.api.call import Call, Reply
from stepwise_server.api.registry import endpoint
from stepwise_server.auth import accounts
from stepwise_server.auth.authenticate import COOKIE
from stepwise_server.errors import ApiError
from stepwise_server.store.database import Transaction

SERVER_ERRORS = {"missed_es_upgrade": False, "es_connection_error": False}
"""What the official web app asks about the reference server's stores."""


@endpoint("auth.login", role="guest")
def login(_tx: Transaction, call: Call) -> Reply:
    """Answer with a token for the caller, who was recognised by key, password or an older token."""
    caller = call.caller
    token = call.services.authenticator.issue(caller, call.number("expiration_sec"))
    if caller.access_key:
        # Not waited for: a client's first call has seconds, and nothing depends on this.
        values = [call.worker or call.address, caller.access_key]
        call.services.database.submit(lambda tx: _note_use(tx, values))
    return Reply({"token": token}, token=token)


def _note_use(tx: Transaction, values: list[str]) -> None:
    """Write down when and from where an access key was last used."""
    statement = "UPDATE credentials SET last_used = ?, last_used_from = ? WHERE access_key = ?"
    tx.execute(statement, [tx.now, *values])


@endpoint("login.supported_modes", role=None)
def supported_modes(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer that people log in with name and password."""
    guest = {"enabled": False, "name": "", "username": "", "password": ""}
    return {
        "basic": {"enabled": True, "guest": guest},
        "sso": {},
        "sso_providers": [],
        "server_errors": SERVER_ERRORS,
        "authenticated": call.identity is not None,
    }


@endpoint("auth.fixed_users_mode", role=None)
def fixed_users_mode(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """Answer the same to older web apps."""
    return {"enabled": True, "guest": {"enabled": False}, "server_errors": SERVER_ERRORS}


@endpoint("login.logout", writes=True, role=None)
@endpoint("auth.logout", writes=True, role=None)
def logout(tx: Transaction, call: Call) -> Reply:
    """Make the browser forget its cookie, and take back the token in it."""
    token = call.cookies.get(COOKIE)
    if token and call.identity is not None and "authorization" not in call.headers:
        authenticator = call.services.authenticator
        try:
            accounts.revoke_tokens(tx, authenticator.claims(token)["jti"])
            tx.after_commit(authenticator.forget)
        except ApiError:
            pass  # it is not valid any more
    return Reply(token="")
