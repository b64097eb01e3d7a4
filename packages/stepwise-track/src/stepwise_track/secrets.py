"""Takes secrets out of everything that is kept: keys, tokens and passwords become `***`.

What counts as one: the value of an environment variable whose name says so, the value behind a name that says so
(`api_key: …`, `--token …`), the user part of a URL, and the shapes that providers give their tokens. A secret that
has neither such a name nor such a shape cannot be told from a word; nothing is guessed from randomness, because
hashes and commits look random too.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from stepwise_track.events import Event, FileRef, Histogram, ProcessId, Scalars, SingleValues, Table

HIDDEN = "***"
"""What stands in the place of a secret."""

MIN_SECRET_LENGTH = 6
"""A shorter value is not hidden wherever it occurs: `PASSWORD=1234` would blank every 1234."""

CHUNK_CHARS = 4000
"""Longer texts are searched in parts: a search holds the interpreter, and the training with it, until it is done."""

_WORD = (
    r"api[_-]?key|(?:access|secret|private|account|encryption|signing)[_-]?key(?:[_-]?id)?|secret|credentials?"
    r"|pass(?:word|wd|phrase)|(?:auth|access|api|bearer|refresh|session|id|hf|github|gitlab|wandb)[_-]?token"
)

_SECRET_NAME = re.compile(rf"(?:^|[^a-z])(?:{_WORD})s?$|(?:{_WORD})$", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)$"
)
_TOKEN_NAME = re.compile(r"(?:^|[_.-])token$", re.IGNORECASE)
_VOCABULARY = re.compile(
    r"(?:pad|bos|eos|unk|mask|sep|cls|start|end|stop|begin|special|first|last|next|prompt|blank|max|min)[_-]?token$",
    re.IGNORECASE,
)

_SHAPES = re.compile(
    r"\b(?:"
    r"sk-[\w-]{20,}"  # OpenAI, Anthropic
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}"  # GitHub, GitLab
    r"|hf_[A-Za-z0-9]{30,}|wandb_v\d+_\w{20,}|pypi-[\w-]{40,}"  # Hugging Face, Weights & Biases, PyPI
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abeprs]-[\w-]{10,}"  # Amazon, Google, Slack
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r")"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)

# Every run of characters has a limit: without, a megabyte of one letter takes minutes instead of milliseconds.
_URL_USER = re.compile(
    r"\b([a-z][a-z0-9+.-]{0,20}://)(?:[^\s/@:'\"]{0,200}:[^\s/@'\"]{1,500}|[^\s/@:'\"]{20,500})@",
    re.IGNORECASE,
)
_NETRC = re.compile(r"(\blogin\s{1,9}\S{1,200}\s{1,9}(?:account\s{1,9}\S{1,200}\s{1,9})?password\s{1,9})\S+")
_HEADER = re.compile(r"\b((?:bearer|basic) {1,9})[\w.~+/=-]{8,}", re.IGNORECASE)
_FLAG = re.compile(
    rf"(?<!\S)(--?[\w-]{{0,60}}?(?:{_WORD}|token)(?: +|=))(?!-)(?:\"[^\"\n]*\"|'[^'\n]*'|\S+)", re.IGNORECASE
)
_ASSIGNED = re.compile(
    rf"(?P<name>(?:{_WORD})s?|(?-i:[A-Z0-9]_(?:KEY|TOKEN|SECRET|PASS))|(?<![\w.-])token)"
    r"(?P<sign>[\"']?[ \t]*(?::=|[:=])[ \t]*)"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\n]+)(?P=quote)|(?P<bare>[^\s\"'`,;&(){}\[\]<>$]{6,})(?P<call>[(\[]?))",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Tell whether a name says that its value is a secret: `api_key`, `WANDB_API_KEY`, `db.password`, `token`.

    `pad_token`, `max_tokens` and `tokenizer` are words of the trade.
    """
    if _VOCABULARY.search(name):
        return False
    return bool(_SECRET_NAME.search(name) or _SECRET_VARIABLE.search(name) or _TOKEN_NAME.search(name))


def redact(text: str, known: Sequence[str] | None = None) -> str:
    """Return a text without the secrets in it.

    Args:
        text: any text.
        known: what `secrets_of_environment` returned, where many texts are searched at once.
    """
    for value in secrets_of_environment() if known is None else known:
        if value in text:
            text = text.replace(value, HIDDEN)
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    if len(text) <= CHUNK_CHARS:
        return _redact_lines(text)
    return "".join(map(_redact_lines, _chunks(text)))


def _chunks(text: str) -> Iterator[str]:
    """Cut a text at line ends into parts of about `CHUNK_CHARS`."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin + CHUNK_CHARS) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _redact_lines(text: str) -> str:
    lower = text.lower()
    for hints, pattern, replacement in _RULES:
        if any(hint in lower for hint in hints):
            text = pattern.sub(replacement, text)
    return text


def redact_tree(value: Any, name: str = "", known: Sequence[str] | None = None) -> Any:
    """Return plain values (dicts, lists, tuples, scalars) without secrets, neither by name nor by shape.

    Only texts are hidden: a number named `api_key` is no key.
    """
    known = secrets_of_environment() if known is None else known
    if isinstance(value, str):
        if (
            value
            and is_secret_name(name)
            and not (_TOKEN_NAME.search(name) and len(value) < MIN_SECRET_LENGTH)
        ):
            return HIDDEN
        return redact(value, known)
    if isinstance(value, Mapping):
        inherited = name if is_secret_name(name) else None  # {"credentials": {"user": …}}
        return {key: redact_tree(item, inherited or str(key), known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redact_tree(item, name, known) for item in value)
    return value


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without secrets: `--api-key X` and `--api-key=X` alike."""
    kept: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = is_secret_name(name.lstrip("-").replace("-", "_"))
        if hide_next and not argument.startswith("-"):
            kept.append(HIDDEN)
        elif secret and equals:
            kept.append(f"{name}={HIDDEN}")
        else:
            kept.append(redact(argument))
        hide_next = secret and not equals and argument.startswith("-")
    return kept


def redact_event(event: Event) -> Event:
    """Return an event without secrets. Numbers have none, so the events of the hot path pass as they are."""
    if isinstance(event, (Scalars, SingleValues, Histogram)) and not getattr(event, "info", None):
        return event
    changed: dict[str, Any] = {}
    known = secrets_of_environment()
    for field in fields(event):
        old = getattr(event, field.name)
        if isinstance(event, Table) and field.name == "rows":
            new = tuple(_redact_row(row, event.columns, known) for row in event.rows)
        elif isinstance(old, (str, dict, list, tuple)) and not _is_files(old):
            new = redact_tree(old, known=known)
        else:
            continue
        if new != old:
            changed[field.name] = new
    return replace(event, **changed) if changed else event


def _redact_row(row: Sequence[Any], columns: Sequence[str], known: Sequence[str]) -> tuple[Any, ...]:
    return tuple(redact_tree(cell, column, known) for cell, column in zip(row, columns, strict=True))


def _is_files(value: Any) -> bool:
    """Tell whether a field holds references: their hashes and paths must stay what they are."""
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], (FileRef, ProcessId))


def secrets_of_environment() -> list[str]:
    """Return the values of the variables that are named like secrets, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if len(value) >= MIN_SECRET_LENGTH and is_secret_name(name) and not value.startswith(("/", "./", "~"))
    }
    return sorted(values, key=len, reverse=True)


def _hide_assigned(found: re.Match[str]) -> str:
    """Hide the value of an assignment, but leave code as it is: `api_key = read_key()`, `token=args.token`."""
    name, value = found["name"], found["quoted"] or found["bare"]
    if value.startswith(HIDDEN):
        return found[0]
    if found["quote"]:
        return f"{name}{found['sign']}{found['quote']}{HIDDEN}{found['quote']}"
    is_code = found["call"] or re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", value)
    if is_code or value.lower().endswith(name.lower()):
        return found[0]
    return f"{name}{found['sign']}{HIDDEN}{found['call']}"


_NAMES = ("key", "secret", "credential", "pass", "token")
_SHAPE_HINTS = (
    "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "hf_", "wandb_v", "pypi-", "akia", "asia", "aiza", "xox", "eyj",
)  # fmt: skip
_RULES: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (("://",), _URL_USER, rf"\1{HIDDEN}@"),
    (
        _SHAPE_HINTS,
        _SHAPES,
        HIDDEN,
    ),
    (("login",), _NETRC, rf"\1{HIDDEN}"),
    (("bearer", "basic"), _HEADER, rf"\1{HIDDEN}"),
    (_NAMES, _FLAG, rf"\1{HIDDEN}"),
    (_NAMES, _ASSIGNED, _hide_assigned),
)
"""What is searched for, and how it is replaced; only where one of the hints, which are found quickly, occurs."""
