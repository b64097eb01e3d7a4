"""The names of stored files.

A name is a path with `/` between its parts, kept literally: what a client percent-encoded before it uploaded
stays encoded. A name never leads out of the store, because no part of it may be `..` and because links are
not followed.
"""

import os
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes, urlsplit

from stepwise_server.errors import ApiError, invalid

PART_BYTES = 255
"""Longest part of a name that common file systems take."""

NAME_BYTES = 3072
"""Longest name, so that the path of the store still fits before it."""

PARTS = 100
"""Deepest name."""

RESERVED = ".uploading"
"""Folder in the store for uploads that are not finished; no name begins with it."""

# What a multipart header cannot hold, the senders write as below. The URL for the same file has the plain sign.
_IN_HEADERS = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def clean(name: str) -> str:
    """Return the one form of a name: without slashes at the ends or in a row.

    Raises:
        ApiError: 400/12 if there can be no such file.
    """
    shown = name[:200].encode("utf-8", "replace").decode()
    parts = [part for part in name.translate(_IN_HEADERS).split("/") if part]
    try:
        sizes = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError:
        raise invalid("a file's name is no valid UTF-8", name=shown) from None
    if not parts:
        raise invalid("a file needs a name")
    if any(part in (".", "..") for part in parts) or parts[0] == RESERVED:
        raise invalid("a file's name must not lead elsewhere", name=shown)
    if any(sign in name for sign in ("\0", *_foreign_separators())):
        raise invalid("a file's name has a sign that the file system does not take", name=shown)
    if max(sizes) > PART_BYTES or sum(sizes) + len(sizes) > NAME_BYTES or len(parts) > PARTS:
        limits = f"{NAME_BYTES} bytes, {PARTS} parts, {PART_BYTES} bytes a part"
        raise invalid(f"a file's name is too long: at most {limits}", name=shown)
    return "/".join(parts)


def _foreign_separators() -> tuple[str, ...]:
    """Return what else than `/` has a meaning in paths of this system: backslash and colon on Windows."""
    return () if os.sep == "/" else (os.sep, ":")


def from_url_path(raw: bytes | str) -> str:
    """Return the name in the path of a URL, which is percent-decoded exactly once.

    Raises:
        ApiError: 400/12 if there can be no such file.
    """
    try:
        return clean(unquote_to_bytes(raw).decode("utf-8"))
    except UnicodeDecodeError:
        raise invalid("a file's name is no valid UTF-8") from None


def as_uploaded(name: str) -> str:
    """Return the name that the SDK gives to a file of this name: it percent-encodes project and task beforehand.

    The URIs of models hold that name as it is. Whoever asks for one percent-decodes it once too often.
    """
    return quote(name, safe="'[]{}()$^,.; -_+=/")


def from_url(url: str, hosts: Iterable[str]) -> list[str]:
    """Return the names that a stored URL may mean, the likelier first; none if it is not one of ours.

    Args:
        url: such as `http://host:8008/files/project/task.id/artifacts/a/a.json`, or only its path. Artifacts have
            URLs, to be decoded; models have the name as it is, `#` and all.
        hosts: `host:port` under which clients know this server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.netloc and f"{parts.hostname}:{port}" not in set(hosts):
            return []
        if not parts.path.startswith("/files/"):
            return []
        rest = url.partition("/files/")[2]
        return [from_url_path(rest), clean(rest)]
    except (ValueError, ApiError):
        return []
