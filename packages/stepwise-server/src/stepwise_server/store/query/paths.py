"""Dotted paths: `hyperparams.General.a%2Eb.value` and the like, as clients write them.

Keys may hold any character, so the web app escapes those that would be misread within a path.
"""

from stepwise_server.errors import invalid

Path = tuple[str, ...]

_ESCAPES = (("%2E", "."), ("%24", "$"), ("%_%_", "__"))

_LONGEST = {"hyperparams": 4, "configuration": 4, "metadata": 3}

_OLD_NAMES = {
    "execution.parameters.": "hyperparams.Args.",
    "execution.model_desc.": "configuration.",
    "execution.docker_cmd.": "container.",
}


def split(text: str) -> Path:
    """Return the keys of a path, unescaped, with names of old versions replaced by the current ones."""
    for old, new in _OLD_NAMES.items():
        if (text + ".").startswith(old) and text + "." != "execution.parameters.":
            text = (new + (text + ".").removeprefix(old)).removesuffix(".")
    return tuple(unescape(part) for part in text.split("."))


def checked(text: str) -> Path:
    """Return the keys of a path to filter or sort on.

    Raises:
        ApiError: 400/12 if it has too many parts.
    """
    path = split(text)
    if len(path) > _LONGEST.get(path[0], 20):
        raise invalid(f"a path of {path[0]} has at most {_LONGEST.get(path[0], 20)} parts", path=text)
    return path


def unescape(part: str) -> str:
    """Return the key that one part of a path stands for."""
    pieces = []
    for number, piece in enumerate(part.split("%%")):
        for escaped, character in _ESCAPES:
            piece = piece.replace(escaped, character)
        if number == 0 and piece.startswith("%_"):
            piece = piece[1:]
        pieces.append(piece)
    return "%".join(pieces)


def escape(key: str) -> str:
    """Return a key as a part of a path."""
    key = key.replace("%", "%%").replace(".", "%2E").replace("$", "%24").replace("__", "%_%_")
    return "%" + key if key.startswith("_") else key
