"""auth.*: access keys and tokens. Everybody manages their own, admins everybody's."""

from typing import Any

from stepwise_server.api.accounts import one_user, role_of
from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.auth import accounts
from stepwise_server.auth.authenticate import act_as, current
from stepwise_server.errors import ApiError
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import COMPANY


@endpoint("auth.get_credentials")
def get_credentials(tx: Transaction, call: Call) -> dict[str, Any]:
    """List the caller's access keys; secrets are not kept, so there are none to show."""
    names = ("access_key", "label", "last_used", "last_used_from")
    rows = tx.execute(
        f"SELECT {', '.join(names)} FROM credentials WHERE user = ? ORDER BY created", [call.user]
    )
    keys = [dict(zip(names, row, strict=True)) for row in rows]
    return {"credentials": [{name: value for name, value in key.items() if value} for key in keys]}


@endpoint("auth.create_credentials", writes=True)
def create_credentials(tx: Transaction, call: Call) -> dict[str, Any]:
    """Make an access key for the caller. This answer is the only place where its secret is shown."""
    label = call.text("label")
    access_key, secret_key = accounts.create_key(tx, call.user, label or None)
    return {"credentials": {"access_key": access_key, "secret_key": secret_key, "label": label}}


@endpoint("auth.edit_credentials", writes=True)
def edit_credentials(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change the label of an access key."""
    access_key = _key(tx, call, 75, "Access key not found")
    tx.execute("UPDATE credentials SET label = ? WHERE access_key = ?", [call.text("label"), access_key])
    return {"updated": 1}


@endpoint("auth.revoke_credentials", writes=True)
def revoke_credentials(tx: Transaction, call: Call) -> dict[str, Any]:
    """Take back an access key, and with it the tokens that were made for it."""
    accounts.revoke_key(tx, _key(tx, call, 300, "Invalid user (unknown access key)"))
    tx.after_commit(call.services.authenticator.forget)
    return {"revoked": 1}


def _key(tx: Transaction, call: Call, subcode: int, message: str) -> str:
    """Return the access key that is asked for, if it is the caller's or the caller is an admin."""
    access_key = call.required("access_key")
    owner = tx.value("SELECT user FROM credentials WHERE access_key = ?", [access_key])
    if owner is None or (owner != call.user and not call.caller.may("admin")):
        raise ApiError(400, subcode, message, access_key=access_key)
    return access_key


@endpoint("auth.create_user", writes=True, role="admin")
def create_user(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add a user, who has neither password nor key yet."""
    names = ("given_name", "family_name", "avatar", "email")
    fields = {name: call.text(name) or None for name in names}
    return {"id": accounts.add_user(tx, call.required("name"), role_of(call), **fields)}


@endpoint("auth.edit_user", writes=True, role="admin")
def edit_user(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change what a user may do."""
    user, role = one_user(tx, call), role_of(call)
    accounts.set_role(tx, user, role)
    tx.after_commit(call.services.authenticator.forget)
    return {"updated": 1, "fields": {"role": role}}


@endpoint("auth.validate_token")
def validate_token(tx: Transaction, call: Call) -> dict[str, Any]:
    """Tell whether a token is valid and whom it stands for."""
    try:
        identity = current(tx, call.services.authenticator.claims(call.required("token")))
    except ApiError as error:
        if error.code != 401:
            raise
        return {"valid": False, "msg": str(error)}
    return {"valid": True, "user": identity.user, "company": COMPANY, "msg": ""}


@endpoint("auth.get_token_for_user", role="admin")
def get_token_for_user(tx: Transaction, call: Call) -> dict[str, Any]:
    """Make a token for another user, which ends with the caller's access key."""
    identity = act_as(tx, call.required("user"), call.caller)
    return {"token": call.services.authenticator.issue(identity, call.number("expiration_sec"))}
