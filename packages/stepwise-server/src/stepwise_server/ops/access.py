"""Access keys and users from the command line, whether the server runs or not; a running one follows in a second."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stepwise_server import limits
from stepwise_server.auth import accounts
from stepwise_server.auth.identity import Role
from stepwise_server.errors import ServerError
from stepwise_server.installation import DATABASE, DEFAULT_USER, read_client, write_client
from stepwise_server.ops import clients
from stepwise_server.ops.folder import read_running
from stepwise_server.store import schema
from stepwise_server.store.database import Transaction


@dataclass(frozen=True)
class Key:
    """An access key, without its secret, which is not kept.

    Attributes:
        access_key: the key.
        user: name of its user.
        label: what it was made for.
        created: time, ISO.
        last_used: time, ISO; None if never.
        last_used_from: the machine.
    """

    access_key: str
    user: str
    label: str | None
    created: str
    last_used: str | None
    last_used_from: str | None


@dataclass(frozen=True)
class User:
    """A user.

    Attributes:
        id: as tasks name it.
        name: to be shown.
        role: what the user may do.
        username: for logins with a password; None without.
        keys: how many access keys there are.
    """

    id: str
    name: str
    role: str
    username: str | None
    keys: int


@contextmanager
def changing(folder: Path) -> Iterator[Transaction]:
    """Give a transaction on the database of a data folder, kept if nothing goes wrong.

    Raises:
        ServerError: if there is no installation, or of another version.
    """
    file = folder / DATABASE
    if not file.exists():
        message = f"there is no installation in {folder}"
        raise ServerError(message, hint=f"stepwise server start --folder {folder}")
    connection = sqlite3.connect(file, timeout=limits.BUSY_TIMEOUT_S, isolation_level=None)
    try:
        schema.require_current(connection)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("BEGIN IMMEDIATE")
        yield Transaction(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise ServerError(f"{file}: {error}", hint="stepwise server status", exit_code=6) from None
    finally:
        connection.close()


def list_keys(folder: Path) -> list[Key]:
    """Return all access keys, the oldest first."""
    with changing(folder) as tx:
        rows = tx.execute(
            "SELECT c.access_key, u.name, c.label, c.created, c.last_used, c.last_used_from"
            " FROM credentials c JOIN users u ON u.id = c.user ORDER BY c.created"
        )
        return [Key(*row) for row in rows]


def create_key(folder: Path, user: str | None, label: str | None) -> tuple[str, str]:
    """Make an access key and return it with its secret.

    Args:
        folder: the data folder.
        user: user name, name or id; None means the first user.
        label: what it is for.
    """
    with changing(folder) as tx:
        return accounts.create_key(tx, _user_id(tx, user) if user else DEFAULT_USER, label)


def revoke_key(folder: Path, access_key: str) -> None:
    """Take back an access key.

    Raises:
        ServerError: if there is none, or it is the installation's own, without which its clients do not work.
    """
    if access_key == read_client(folder).access_key:
        message = f"the access key {access_key} is the one in {folder / clients.CONFIG}"
        raise ServerError(message, hint="stepwise server credentials rotate")
    with changing(folder) as tx:
        if not accounts.revoke_key(tx, access_key):
            raise _no_key(access_key)


def rotate_key(folder: Path, access_key: str | None) -> tuple[str, str]:
    """Replace an access key by a new one of the same user, and return that with its secret.

    The installation's own, which None means, is also replaced in client.json, clearml.conf and client.env.
    """
    client = read_client(folder)
    old = access_key or client.access_key
    with changing(folder) as tx:
        row = tx.one("SELECT user, label FROM credentials WHERE access_key = ?", [old])
        if row is None:
            raise _no_key(old)
        new, secret = accounts.create_key(tx, row[0], row[1])
        accounts.revoke_key(tx, old)
        if old == client.access_key:  # before the commit: else a crash could lose the only copy of the secret
            write_client(folder, replace(client, access_key=new, secret_key=secret))
    server = read_running(folder)
    if server and old == client.access_key:
        clients.write_files(folder, server.url)
    return new, secret


def _no_key(access_key: str) -> ServerError:
    message = f"there is no access key {access_key}"
    return ServerError(message, hint="stepwise server credentials list")


def list_users(folder: Path) -> list[User]:
    """Return all users, the oldest first."""
    with changing(folder) as tx:
        rows = tx.execute(
            "SELECT id, name, role, username, (SELECT count(*) FROM credentials c WHERE c.user = u.id)"
            " FROM users u ORDER BY created"
        )
        return [User(*row) for row in rows]


def add_user(folder: Path, username: str, password: str, role: Role, name: str | None) -> str:
    """Add a user who logs in with a password, and return the id."""
    with changing(folder) as tx:
        return accounts.add_user(tx, name or username, role, username=username, password=password)


def set_password(folder: Path, user: str, password: str) -> None:
    """Give a user who has a user name another password, and end the user's logins."""
    with changing(folder) as tx:
        found = _user_id(tx, user)
        username = tx.value("SELECT username FROM users WHERE id = ?", [found])
        if not username:
            message = f"the user {user!r} has no user name, so there is no login with a password"
            raise ServerError(message, hint="stepwise server users add NAME")
        accounts.set_password(tx, found, password)
    client = read_client(folder)
    if client.username == username:  # the generated one counts no more, and a chosen one is not kept in clear
        write_client(folder, replace(client, password=""))


def remove_user(folder: Path, user: str) -> None:
    """Remove a user, with keys and tokens; what the user made stays."""
    with changing(folder) as tx:
        accounts.remove_user(tx, _user_id(tx, user))


def _user_id(tx: Transaction, user: str) -> str:
    """Return the id of the one user with this user name, name or id."""
    found: list[str] = tx.column("SELECT id FROM users WHERE username = ? OR id = ?", [user, user])
    found = found or tx.column("SELECT id FROM users WHERE name = ?", [user])
    if len(found) != 1:
        problem = f"{len(found)} users have the name" if found else "there is no user"
        raise ServerError(f"{problem} {user!r}", hint="stepwise server users list")
    return found[0]
