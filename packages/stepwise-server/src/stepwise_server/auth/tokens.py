"""Tokens: JSON Web Tokens signed (HS256) with the installation's secret."""

import time
import uuid
from typing import Any

import jwt

from stepwise_server import limits
from stepwise_server.auth.identity import Identity
from stepwise_server.errors import ApiError
from stepwise_server.store.entities import COMPANY

SERVER_VERSION = "2.3.0"
"""The version of the reference server whose behaviour is served. Clients switch features by it."""


def make_token(secret: bytes, identity: Identity, api_version: str, seconds: float | None = None) -> str:
    """Return a signed token.

    Args:
        secret: the installation's secret.
        identity: whom it stands for.
        api_version: newest version of the API; clients read it from here.
        seconds: lifetime; `limits.TOKEN_SECONDS` unless given, and never above `limits.TOKEN_SECONDS_MAX`.
    """
    now = round(time.time(), 6)  # of more than whole seconds, for what is revoked in between
    lifetime = max(1, min(int(seconds or limits.TOKEN_SECONDS), limits.TOKEN_SECONDS_MAX))
    claims = {
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": int(now) + lifetime,
        "identity": {
            "user": identity.user,
            "user_name": identity.name,
            "role": identity.role,
            "company": COMPANY,
            "company_name": "clearml",
        },
        "access_key": identity.access_key,
        "auth_type": "Bearer",
        "api_version": api_version,
        "server_version": SERVER_VERSION,
        "server_build": "stepwise",
        "feature_set": "basic",
        "env": "stepwise",
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def read_token(secret: bytes, token: str) -> dict[str, Any]:
    """Return the claims of a token that this installation signed and that has not expired.

    Raises:
        ApiError: 401/30 for any other.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token, secret, algorithms=["HS256"], options={"require": ["exp", "iat", "jti"]}
        )
    except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
        raise ApiError(401, 30, f"Unauthorized (invalid token: {error})") from None
    return claims
