"""The errors a user can cause. Each knows its exit code and the next command to run.

Anything else that escapes is a bug and keeps its traceback.
"""


class StepwiseError(Exception):
    """A failure that is explained in one line.

    Args:
        message: what is wrong: the value, the place, what was expected.
        hint: the next command or action, shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(StepwiseError):
    """A configuration that cannot be used. The message holds one line per mistake."""

    exit_code = 3


class DataError(StepwiseError):
    """Data that is missing, unreadable, empty, misaligned or too long."""

    exit_code = 6


class RunError(StepwiseError):
    """A run folder that is missing, in use, or not writable."""


class CheckpointError(StepwiseError):
    """A checkpoint that is missing, truncated, altered, or belongs to another model."""


class DivergedError(StepwiseError):
    """The loss or a gradient became NaN or infinite."""

    exit_code = 7


class Interrupted(StepwiseError):
    """The user or the system asked the run to stop; its state is saved."""

    exit_code = 130
