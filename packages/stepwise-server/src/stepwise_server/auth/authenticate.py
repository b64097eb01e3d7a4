"""From the headers of a request to an identity."""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any

from stepwise_server.auth import secrets, tokens
from stepwise_server.auth.identity import Identity
from stepwise_server.errors import ApiError
from stepwise_server.store.database import Database

COOKIE = "clearml_token_basic"


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

    def issue(self, identity: Identity, seconds: float | None = None) -> str:
        """Return a token for this identity."""
        return tokens.make_token(self._secret, identity, self._api_version, seconds)

    def forget(self) -> None:
        """Look at the database again for every token: call this after users, keys or revocations changed."""
        self._known.clear()

    def by_basic(self, header: str) -> Identity:
        """Return who an `Authorization: Basic` header stands for: an access key with its secret, or a user.

        Raises:
            ApiError: 401/21 if it is malformed, 401/22 if the pair is not known.
        """
        try:
            text = base64.b64decode(header.partition(" ")[2], validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise ApiError(401, 21, "Unauthorized (malformed credentials)") from None
        name, colon, secret = text.partition(":")
        if not colon:
            raise ApiError(401, 21, "Unauthorized (malformed credentials)")
        row = self._database.read(
            lambda tx: tx.one(
                "SELECT c.secret_hash, u.id, u.name, u.role FROM credentials c JOIN users u ON u.id = c.user"
                " WHERE c.access_key = ?",
                [name],
            )
        )
        if row and secrets.secret_matches(secret, row[0]):
            return Identity(row[1], row[2], row[3], access_key=name)
        user = self._database.read(
            lambda tx: tx.one("SELECT password_hash, id, name, role FROM users WHERE username = ?", [name])
        )
        if user and user[0] and secrets.password_matches(secret, user[0]):
            return Identity(user[1], user[2], user[3])
        raise ApiError(401, 22, "Unauthorized (invalid credentials)")

    def by_token(self, token: str) -> Identity:
        """Return who a token stands for.

        Raises:
            ApiError: 401/30 if it is forged or has expired, 401/31 if it was taken back.
        """
        known = self._known.get(token)
        if known and known[0] > time.time():
            return known[1]
        claims = tokens.read_token(self._secret, token)
        identity = self._database.read(lambda tx: self._current(tx, claims))
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[token] = (float(claims["exp"]), identity)
        return identity

    def _current(self, tx: Any, claims: dict[str, Any]) -> Identity:
        """Return the token's identity as the database has it now: roles change, keys are taken back."""
        user = claims.get("identity", {}).get("user")
        access_key = claims.get("access_key")
        row = tx.one("SELECT name, role FROM users WHERE id = ?", [user])
        revoked = tx.value(
            "SELECT max(until) FROM revoked_tokens WHERE subject IN (?, ?, ?)",
            [claims["jti"], f"user:{user}", f"key:{access_key}"],
        )
        gone = access_key and not tx.one("SELECT 1 FROM credentials WHERE access_key = ?", [access_key])
        if row is None or gone or (revoked is not None and claims["iat"] <= revoked):
            raise ApiError(401, 31, "Unauthorized (the token was revoked)")
        return Identity(user, row[0], row[1], access_key)

    def identify(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Identity | None:
        """Return who sent a request: by its Bearer token, else by its cookie; None if it has neither.

        Raises:
            ApiError: 401 if what it has is not valid.
        """
        header = headers.get("authorization")
        if header is None:
            token = cookies.get(COOKIE)
            return self.by_token(token) if token else None
        kind, _, value = header.partition(" ")
        if kind.lower() == "bearer":
            return self.by_token(value.strip())
        if kind.lower() == "basic":
            return self.by_basic(header)
        raise ApiError(401, 10, "Unauthorized (bad authentication type)", type=kind)
