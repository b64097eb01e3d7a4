"""Names and values within the limits of MLflow."""

import json
import posixpath
import re
import zlib
from typing import Any

MAX_KEY = 250
"""Longest name of a metric, a parameter or a tag."""

MAX_PARAMETER = 6000
"""Longest value of a parameter."""

MAX_TAG = 8000
"""Longest value of a tag."""


def key(name: str) -> str:
    """Return a name that MLflow takes: word characters, `/ . - :` and spaces, no empty part between slashes.

    A name that had to be altered gets a checksum, so that two names stay two.
    """
    clean = re.sub(r"[^/\w.\- :]", "_", name)
    clean = posixpath.normpath(clean).lstrip("/.") or "_"
    if clean == name and len(name) <= MAX_KEY:
        return name
    return f"{clean[: MAX_KEY - 9]}-{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"


def value(item: Any) -> str:
    """Return a parameter as text: words as they are, everything else as JSON."""
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


def cut(text: str, length: int) -> str:
    """Return a text of at most `length` characters; what is cut ends with `…`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def model(*parts: str) -> str:
    """Return the name of a registered model: no `/` and no `:`."""
    return ".".join(re.sub(r"[/:\\]+", ".", part).strip(". ") or "_" for part in parts)[:MAX_KEY]
