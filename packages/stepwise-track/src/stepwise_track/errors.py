"""The one error that users of this package can cause."""

from pathlib import Path


class TrackError(Exception):
    """A failure that is explained in one line.

    The command line turns it into `error: message`, `next: hint` and the exit code.

    Args:
        message: what is wrong: the value, the place, what was expected.
        hint: the next command or action.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def cannot_write(folder: Path, error: OSError) -> TrackError:
    """Explain that the operating system does not let us write a folder."""
    return TrackError(
        f"cannot write {folder}: {error.strerror or error}",
        hint="check its owner, its permissions and the free space, or choose another folder",
    )
