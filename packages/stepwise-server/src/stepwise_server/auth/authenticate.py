"""From the headers of a request to an identity."""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any

from stepwise_server import limits
from stepwise_server.auth import secrets, tokens
from stepwise_server.auth.failures import FailedLogins
from stepwise_server.auth.identity import Identity
from stepwise_server.auth.published import PUBLISHED
from stepwise_server.errors import ApiError
from stepwise_server.store.database import Database, Transaction

COOKIE = "clearml_token_basic"

ACT_AS = ("impersonate-as", "act-as")
"""Ends of the headers by which an admin calls as another user."""


class Authenticator:
    """Recognises callers.

    Args:
        database: where users, keys and revocations are.
        secret: the installation's secret.
        api_version: newest version of the API, written into tokens.
    """

    def __init__(self, database: Database, secret: bytes, api_version: str) -> None:
        self._database, self._secret, self._api_version = database, secret, api_version
        self._known: dict[str, tuple[float, Identity]] = {}
        self._failed = FailedLogins()

    def issue(self, identity: Identity, seconds: float | None = None) -> str:
        """Return a token for this identity."""
        return tokens.make_token(self._secret, identity, self._api_version, seconds)

    def forget(self) -> None:
        """Look at the database again for every token: call this after users, keys or revocations changed."""
        self._known.clear()

    def by_basic(self, header: str, address: str = "") -> Identity:
        """Return who an `Authorization: Basic` header stands for: an access key with its secret, or a user.

        Args:
            header: the header's value.
            address: of the caller, for whom failures are counted.

        Raises:
            ApiError: 401/21 if it is malformed, 401/22 if the pair is not known or failed too often.
        """
        try:
            text = base64.b64decode(header.partition(" ")[2], validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise ApiError(401, 21, "Unauthorized (malformed credentials)") from None
        name, colon, secret = text.partition(":")
        if not colon:
            raise ApiError(401, 21, "Unauthorized (malformed credentials)")
        self._failed.check(name, address)
        identity = self._database.read(lambda tx: _by_pair(tx, name, secret))
        if identity is None:
            self._failed.add(name, address)
            raise ApiError(401, 22, "Unauthorized (invalid credentials)")
        return identity

    def by_token(self, token: str) -> Identity:
        """Return who a token stands for.

        Raises:
            ApiError: 401/30 if it is forged or has expired, 401/31 if it was taken back.
        """
        known = self._known.get(token)
        if known and known[0] > time.time():
            return known[1]
        claims = tokens.read_token(self._secret, token)
        identity = self._database.read(lambda tx: current(tx, claims))
        if len(self._known) > limits.TOKENS_KNOWN:
            self._known.clear()
        # Not for long: the command line takes back users and keys without telling this process.
        self._known[token] = (min(float(claims["exp"]), time.time() + limits.TOKEN_TRUST_S), identity)
        return identity

    def claims(self, token: str) -> dict[str, Any]:
        """Return what a valid token says.

        Raises:
            ApiError: 401/30 if it is forged or has expired.
        """
        return tokens.read_token(self._secret, token)

    def identify(
        self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str = ""
    ) -> Identity | None:
        """Return who sent a request: by its Bearer token, else by its cookie; None if it has neither.

        Raises:
            ApiError: 401 if what it has is not valid; 400 if it wants to act as somebody and may not.
        """
        identity = self._caller(headers, cookies, address)
        wanted = {end: headers.get(f"x-clearml-{end}") or headers.get(f"x-trains-{end}") for end in ACT_AS}
        users = [user for user in wanted.values() if user]
        if not users or identity is None:
            return identity
        if len(users) > 1:
            raise ApiError(400, 5, "Bad headers: act as one user, not two")
        if not identity.may("admin"):
            raise ApiError(400, 6, "Impersonation error (role not allowed)", role=identity.role)
        return self._database.read(lambda tx: act_as(tx, users[0], identity))

    def _caller(
        self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str
    ) -> Identity | None:
        header = headers.get("authorization")
        if header is None:
            token = cookies.get(COOKIE)
            return self.by_token(token) if token else None
        kind, _, value = header.partition(" ")
        if kind.lower() == "bearer":
            return self.by_token(value.strip())
        if kind.lower() == "basic":
            return self.by_basic(header, address)
        raise ApiError(401, 10, "Unauthorized (bad authentication type)", type=kind)


def _by_pair(tx: Transaction, name: str, secret: str) -> Identity | None:
    """Return who an access key with its secret, or a user name with its password, stands for."""
    if name.strip().upper() in PUBLISHED:
        return None
    row = tx.one(
        "SELECT c.secret_hash, u.id, u.name, u.role FROM credentials c JOIN users u ON u.id = c.user"
        " WHERE c.access_key = ?",
        [name],
    )
    if row:
        return Identity(row[1], row[2], row[3], name) if secrets.secret_matches(secret, row[0]) else None
    row = tx.one("SELECT password_hash, id, name, role FROM users WHERE username = ?", [name])
    matches = secrets.password_matches(secret, row[0] if row else None)
    return Identity(row[1], row[2], row[3]) if row and matches else None


def act_as(tx: Transaction, user: str, admin: Identity) -> Identity:
    """Return the identity of another user for an admin; its tokens end with the admin's access key.

    Raises:
        ApiError: 400/6 if there is no such user.
    """
    row = tx.one("SELECT id, name, role FROM users WHERE id = ?", [user])
    if row is None:
        raise ApiError(400, 6, "Impersonation error (no such user)", user=user)
    return Identity(row[0], row[1], row[2], admin.access_key)


def current(tx: Transaction, claims: dict[str, Any]) -> Identity:
    """Return the identity of a token's claims as the database has it now: roles change, keys are taken back.

    Raises:
        ApiError: 401/31 if the token was taken back.
    """
    user = claims.get("identity", {}).get("user")
    access_key = claims.get("access_key")
    row = tx.one("SELECT name, role FROM users WHERE id = ?", [user])
    subjects = [claims["jti"], f"user:{user}"]
    revoked = tx.value("SELECT max(until) FROM revoked_tokens WHERE subject IN (?, ?)", subjects)
    gone = access_key and not tx.one("SELECT 1 FROM credentials WHERE access_key = ?", [access_key])
    if row is None or gone or (revoked is not None and claims["iat"] <= revoked):
        raise ApiError(401, 31, "Unauthorized (the token was revoked)")
    return Identity(user, row[0], row[1], access_key)
