"""Where the command line writes: one rich console for results, one for everything else; JSON for programs.

rich takes a tenth of a second to import, so both consoles are made on first use. Results go to standard
output, where they can be piped; progress, notes and errors go to standard error. rich itself honours NO_COLOR
and FORCE_COLOR.
"""

import json
import math
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
"""Columns when the output is no terminal: a pipe has no width, and a cell that is cut cannot be grepped."""


def _width(stream_is_terminal: bool) -> int | None:
    """Leave the width to rich where there is a terminal or COLUMNS, else take `PIPE_WIDTH`."""
    return None if stream_is_terminal or os.environ.get("COLUMNS") else PIPE_WIDTH


@cache
def console() -> "Console":
    """Return the console for results, on standard output."""
    from rich.console import Console

    return Console(highlight=False, width=_width(sys.stdout.isatty()))


@cache
def error_console() -> "Console":
    """Return the console for progress, notes and errors, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, width=_width(sys.stderr.isatty()))


def print_json(value: Any) -> None:
    """Print a value as JSON, on standard output."""
    click.echo(json.dumps(finite(value), indent=2))


def finite(value: Any) -> Any:
    """Turn NaN and infinities, which JSON does not know, into text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
