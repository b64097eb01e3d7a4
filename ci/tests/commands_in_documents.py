"""Finds the `stepwise …` and `make …` commands of a document and holds them against the real ones."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import click
from house import ROOT

from stepwise_cli.main import COMMANDS, load_command, stepwise

SHELL = {"", "bash", "sh", "shell", "console"}
BLOCK = re.compile(r"^ *(```|~~~)(\w*)[^\n]*\n(.*?)^ *\1", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:stepwise|make) [^`\n]+)`(?!`)")
SCHEMATIC = re.compile(r"[…|<>\[\]]")
ASSIGNMENT = re.compile(r"(\w+)=")


class Found(NamedTuple):
    """A command as a list of words, and the line of the document where it stands."""

    line: int
    words: list[str]


def commands(text: str) -> Iterator[Found]:
    """Yield the commands of ours in the shell blocks of a document and in its `inline code`.

    Inline code that is a scheme rather than a command (`stepwise runs list|show`) is left out.
    """
    for block in BLOCK.finditer(text):
        if block[2] in SHELL:
            start = text.count("\n", 0, block.start(3)) + 1
            yield from _in_block(block[3], start, prompt=block[2] == "console")
    for inline in INLINE.finditer(BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)):
        if not SCHEMATIC.search(inline[1]):
            yield Found(text.count("\n", 0, text.index(inline[0])) + 1, shlex.split(inline[1]))


def _in_block(block: str, start: int, prompt: bool) -> Iterator[Found]:
    joined = re.sub(r"\\\n\s*", " ", block)
    for number, line in enumerate(joined.splitlines()):
        if prompt and not line.startswith("$ "):
            continue  # what a command printed
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if _ours(words):
                    yield Found(start + number, words)
                words = []
            elif words or not ASSIGNMENT.match(word):
                words.append(word.removeprefix(".venv/bin/") if not words else word)


def _ours(words: list[str]) -> bool:
    return bool(words) and words[0] in ("stepwise", "make")


def complaint_about(words: list[str]) -> str | None:
    """Return what is wrong with a command, None if it would be understood."""
    return _about_make(words[1:]) if words[0] == "make" else _about_click(stepwise, words[1:])


def _about_make(words: list[str]) -> str | None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^(\w+)\s*[?:]?=", makefile, re.MULTILINE))
    for word in words:
        if assignment := ASSIGNMENT.match(word):
            if assignment[1] not in variables:
                return f"no variable {assignment[1]!r}"
        elif word not in targets:
            return f"no target {word!r}"
    return None


def _about_click(command: click.Command, words: list[str]) -> str | None:
    context = click.Context(command, info_name=command.name)
    options = {
        name: option
        for option in command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    room = sum(argument.nargs for argument in arguments)
    unlimited = any(argument.nargs == -1 for argument in arguments)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            name, given, _ = word.partition("=")
            if name not in options:
                return f"no option {name}"
            takes_value = not (options[name].is_flag or options[name].count or given)
            del rest[: options[name].nargs if takes_value else 0]
        elif isinstance(command, click.Group):
            child = (
                load_command(word) if word in COMMANDS and command is stepwise else command.commands.get(word)
            )
            return _about_click(child, rest) if child else f"no command {word!r}"
        elif not unlimited and (room := room - 1) < 0:
            return f"one argument too many: {word!r}"
    return None
