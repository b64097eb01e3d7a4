"""Secrets: the installation's own, and the hashing of others. No secret is ever stored as it is."""

import hashlib
import hmac
import os
import secrets
import string
import threading
from pathlib import Path

_few = threading.Semaphore(2)  # one takes 16 MB and 50 ms: many at once must not take the server's

ACCESS_KEY_CHARACTERS = string.ascii_uppercase + string.digits


def installation_secret(folder: Path) -> bytes:
    """Return the secret that this installation signs tokens with; made at the first call, mode 0600.

    Args:
        folder: the data folder.
    """
    path = folder / "token.secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        write_private(path, secrets.token_bytes(64))
        return path.read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def new_access_key() -> str:
    """Return 30 random capitals and digits."""
    return "".join(secrets.choice(ACCESS_KEY_CHARACTERS) for _ in range(30))


def new_secret() -> str:
    """Return 256 random bits as 43 URL-safe characters, with 12 more so that its length is what clients expect."""
    return secrets.token_urlsafe(41)


def new_password() -> str:
    """Return 20 random letters and digits, about 119 bits, which can be typed."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20))


def hash_secret(secret: str) -> str:
    """Return the hash of a generated secret. One round is enough for 256 random bits; a password needs scrypt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def secret_matches(secret: str, hashed: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_secret(secret), hashed)


def hash_password(password: str) -> str:
    """Return salt and scrypt hash of a password."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt)}"


def password_matches(password: str, hashed: str | None) -> bool:
    """Compare in constant time; None, for a user who does not exist, takes as long and never matches."""
    salt, _, expected = (hashed or f"{'0' * 32}$").partition("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), expected)


def _scrypt(password: str, salt: bytes) -> str:
    text = password.encode("utf-8", "surrogatepass")
    with _few:
        return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1).hex()
