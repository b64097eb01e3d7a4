"""users.*: who the caller is, preferences of the page, and the users as admins manage them."""

from typing import Any

import msgspec

from stepwise_server import limits
from stepwise_server.api.call import Call
from stepwise_server.api.registry import endpoint
from stepwise_server.auth import accounts
from stepwise_server.auth.identity import Role
from stepwise_server.errors import ApiError, invalid
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction

PROFILE = ("name", "given_name", "family_name", "avatar")
"""What people may change about themselves."""

DOWNLOAD_ITEMS = 1000
"""Most rows that the web app offers to download as a table."""


def one_user(tx: Transaction, call: Call) -> str:
    """Return the id in the parameter `user`.

    Raises:
        ApiError: 400/11 if it is missing, 400/301 if there is no such user.
    """
    user = call.required("user")
    if not entities.exists(tx, entities.USER, user):
        raise entities.USER.unknown(user)
    return user


def role_of(call: Call) -> Role:
    """Return the role in the parameter `role`, an ordinary user if it is not given.

    Raises:
        ApiError: 400/12 if there is none of this name.
    """
    role = accounts.known_role(call.text("role", "user"))
    if role is None:
        raise invalid("there is no such role", role=call.text("role"))
    return role


@endpoint("users.get_current_user")
def get_current_user(tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer who calls, and what the web app shows to somebody who starts."""
    row = entities.load(tx, entities.USER, call.user)
    user = {name: row[name] for name in ("id", *PROFILE, "role", "created") if name in row}
    started = {
        "agentName": "clearml",
        "configure": "clearml-init",
        "install": "pip install clearml",
        "packageName": "clearml",
    }
    return {
        "user": {**user, "company": {"id": entities.COMPANY, "name": "clearml"}},
        "getting_started": started,
        "settings": {"max_download_items": DOWNLOAD_ITEMS},
    }


@endpoint("users.get_preferences")
def get_preferences(tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer with what the caller's page has stored."""
    return {"preferences": entities.load(tx, entities.USER, call.user).get("preferences", {})}


@endpoint("users.set_preferences", writes=True, role="guest")
def set_preferences(tx: Transaction, call: Call) -> dict[str, Any]:
    """Store values under dotted paths. Guests may: it is how their own page looks."""
    preferences = entities.load(tx, entities.USER, call.user).get("preferences", {})
    for path, value in call.mapping("preferences").items():
        _store(preferences, path, value)
    if len(msgspec.json.encode(preferences)) > limits.PREFERENCES_BYTES:
        raise invalid("the preferences are too large", limit=limits.PREFERENCES_BYTES)
    entities.save(tx, entities.USER, call.user, {"preferences": preferences})
    answer: dict[str, Any] = {"updated": 1}
    return {**answer, "fields": {"preferences": preferences}} if call.flag("return_updated") else answer


def _store(preferences: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    if any(not part or part.startswith("$") for part in (*parents, last)):
        raise ApiError(400, 302, "Bad key in preferences", key=path)
    for part in parents:
        inner = preferences.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = preferences[part] = {}
        preferences = inner
    preferences[last] = value


@endpoint("users.update", writes=True)
def update(tx: Transaction, call: Call) -> dict[str, Any]:
    """Change the profile of a user: one's own, or as an admin anybody's."""
    user = one_user(tx, call)
    if user != call.user and not call.caller.may("admin"):
        raise ApiError(403, 20, "Forbidden (another user's profile)", user=user)
    fields = {name: call.text(name) for name in PROFILE if call.given(name)}
    if "name" in fields and not fields["name"].strip():
        raise invalid("a user needs a name")
    entities.save(tx, entities.USER, user, fields)
    tx.after_commit(call.services.authenticator.forget)
    return {"updated": int(bool(fields)), "fields": fields}


@endpoint("users.create", writes=True, role="admin")
def create(tx: Transaction, call: Call) -> dict[str, Any]:
    """Add a user under an id that the caller chose."""
    user, name = call.required("id"), call.required("name")
    if entities.exists(tx, entities.USER, user):
        raise ApiError(400, 801, "A user with this id exists", id=user)
    fields = {field: call.text(field) or None for field in PROFILE if field != "name"}
    accounts.add_user(tx, name, role_of(call), id=user, **fields)
    return {}


@endpoint("users.delete", writes=True, role="admin")
def delete(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remove a user, with keys and tokens; what the user made stays."""
    accounts.remove_user(tx, one_user(tx, call))
    tx.after_commit(call.services.authenticator.forget)
    return {}
