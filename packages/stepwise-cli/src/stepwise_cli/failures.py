"""How a failure looks and which exit code it gets: one line that explains, one line with the next command.

An exception that carries an integer `exit_code` explains itself. So do click's own, an interrupt, and a disk
that is full or closed to us. Everything else is a bug of ours and keeps its traceback.
"""

import errno
import os
import sys
import traceback

import click

FAILURE = 1
INTERRUPTED = 130

DISK_HINTS = {
    errno.ENOSPC: "free some space on that disk, then run the command again",
    errno.EDQUOT: "free some of your quota on that disk, then run the command again",
    errno.EACCES: "check the owner and the permissions, or choose another folder",
    errno.EPERM: "check the owner and the permissions, or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written",
}
"""Operating system errors that a user can put right, with the way to do it."""


def exit_code_for(error: BaseException) -> int:
    """Tell the user what went wrong, on standard error, and return the exit code.

    Args:
        error: what escaped from a command.

    Returns:
        The exception's own `exit_code`, 2 for wrong usage, 130 for an interrupt, else 1.
    """
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return FAILURE
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        _explain("interrupted")
        return INTERRUPTED
    code = getattr(error, "exit_code", None)
    fixable = isinstance(error, OSError) and error.errno in DISK_HINTS
    is_bug = not isinstance(code, int) and not fixable
    if is_bug or os.environ.get("STEPWISE_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        _explain_click(error)
    elif isinstance(code, int):
        _explain(str(error), getattr(error, "hint", None))
    elif isinstance(error, OSError) and fixable:
        place = f": {error.filename}" if error.filename else ""
        _explain(f"{(error.strerror or str(error)).lower()}{place}", DISK_HINTS[error.errno or 0])
    else:
        _explain(
            f"{type(error).__name__} was not expected here: this is a bug in stepwise",
            "report it with the lines above and the command that you ran",
        )
    return code if isinstance(code, int) else FAILURE


def _explain_click(error: click.ClickException) -> None:
    """Show a click error in the same form as our own; a bare group shows its help instead."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    elif isinstance(error, click.UsageError):
        _explain(error.format_message(), f"{error.ctx.command_path if error.ctx else 'stepwise'} --help")
    else:
        _explain(error.format_message(), getattr(error, "hint", None))


def _explain(message: str, hint: str | None = None) -> None:
    """Print `error: …` for every line of the message (an indented one belongs to the last), then the hint."""
    color = False if os.environ.get("NO_COLOR") else None  # None: colours on a terminal only
    for line in message.splitlines():
        prefix = "" if line.startswith(" ") else click.style("error: ", fg="red", bold=True)
        click.echo(f"{prefix}{line}", err=True, color=color)
    if hint:
        click.echo(click.style("  next: ", bold=True) + hint, err=True, color=color)


def _silence_stdout() -> None:
    """Point standard output at nothing, so that the flush at exit does not meet the closed pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
