"""Users and their access keys: added, changed and taken back, for the API and the command line alike."""

import time
from typing import Any

from stepwise_server.auth import secrets
from stepwise_server.auth.identity import ROLES, Role
from stepwise_server.auth.published import refuse_published
from stepwise_server.errors import ServerError
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction


def create_key(tx: Transaction, user: str, label: str | None) -> tuple[str, str]:
    """Return a new access key and its secret, which is not kept."""
    access_key, secret_key = secrets.new_access_key(), secrets.new_secret()
    add_key(tx, user, label, access_key, secret_key)
    return access_key, secret_key


def add_key(tx: Transaction, user: str, label: str | None, access_key: str, secret_key: str) -> None:
    """Keep a pair for a user.

    Raises:
        ServerError: if it is a published one.
    """
    refuse_published(access_key)
    tx.execute(
        "INSERT INTO credentials (access_key, secret_hash, user, label, created) VALUES (?, ?, ?, ?, ?)",
        [access_key, secrets.hash_secret(secret_key), user, label, tx.now],
    )


def revoke_key(tx: Transaction, access_key: str) -> bool:
    """Take back an access key, and with it all tokens that were made for it; False if there is none."""
    return tx.execute("DELETE FROM credentials WHERE access_key = ?", [access_key]).rowcount > 0


def revoke_tokens(tx: Transaction, subject: str) -> None:
    """Take back tokens.

    Args:
        tx: writes.
        subject: a token's `jti`, or `user:<id>` for all that this user has now.
    """
    tx.execute("INSERT OR REPLACE INTO revoked_tokens VALUES (?, ?)", [subject, time.time()])


def add_user(tx: Transaction, name: str, role: Role, **fields: Any) -> str:
    """Add a user and return the id.

    Args:
        tx: writes.
        name: to be shown.
        role: what the user may do.
        **fields: other columns, such as `username`, and `id`; `password` is hashed.

    Raises:
        ServerError: if there is such a user, or the name is a published key.
    """
    username, password = fields.get("username"), fields.pop("password", None)
    if username:
        refuse_published(username)
        if ":" in username:
            raise ServerError(f"a user name has no colon: {username}", exit_code=2)
        if tx.one("SELECT 1 FROM users WHERE username = ?", [username]):
            raise ServerError(f"there is a user {username!r} already", hint="stepwise server users list")
    if password:
        fields["password_hash"] = secrets.hash_password(password)
    return entities.insert(tx, entities.USER, {"name": name, "role": role, "created": tx.now, **fields})


def set_password(tx: Transaction, user: str, password: str) -> None:
    """Give a user another password; who is logged in as this user has to log in again, programs with a key too."""
    entities.save(tx, entities.USER, user, {"password_hash": secrets.hash_password(password)})
    revoke_tokens(tx, f"user:{user}")


def remove_user(tx: Transaction, user: str) -> None:
    """Remove a user with keys and tokens; what the user made stays.

    Raises:
        ServerError: if nobody could manage the server then.
    """
    require_other_admin(tx, user)
    entities.remove(tx, entities.USER, user)  # the keys go with the row; tokens of unknown users are refused


def set_role(tx: Transaction, user: str, role: Role) -> None:
    """Give a user another role, at once.

    Raises:
        ServerError: if nobody could manage the server then.
    """
    if role != "admin":
        require_other_admin(tx, user)
    entities.save(tx, entities.USER, user, {"role": role})


def require_other_admin(tx: Transaction, user: str) -> None:
    """Check that the server can do without this user.

    Raises:
        ServerError: if there is no other admin.
    """
    if not tx.one("SELECT 1 FROM users WHERE role = 'admin' AND id != ?", [user]):
        raise ServerError("the last admin cannot go", hint="stepwise server users add NAME --role admin")


def known_role(text: str) -> Role | None:
    """Return the role of this name; None if there is none."""
    return next((role for role in ROLES if role == text), None)
