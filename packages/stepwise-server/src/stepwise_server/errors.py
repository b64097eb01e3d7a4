"""What can go wrong: `ApiError` travels to the client, `ServerError` to the person at the command line."""

from typing import Any


class ServerError(Exception):
    """An error that the person who runs the server can put right.

    Args:
        message: one line that names the value and the place.
        hint: the next command or step.
        exit_code: of the command: 1 failure, 3 configuration, 4 server unreachable, 5 not authorised, 6 data.
    """

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class ApiError(Exception):
    """An error that the API answers with.

    Args:
        code: HTTP status, also the `result_code` of the envelope. Never above 500: the SDK would repeat the
            call for ever.
        subcode: `result_subcode`, which clients tell errors apart by.
        message: what was wrong, in a few words.
        **data: values that belong to it; added to the message as `key=value` and sent as `error_data`.
    """

    def __init__(self, code: int, subcode: int, message: str, **data: Any) -> None:
        self.code, self.subcode, self.data = code, subcode, data
        values = ", ".join(f"{key}={_in_words(value)}" for key, value in data.items())
        super().__init__(f"{message}: {values}" if values else message)


def _in_words(value: Any) -> str:
    """Return a value as messages show it: lists as `(a, b)`, which the web app reads back."""
    if isinstance(value, list | tuple | set):
        return f"({', '.join(map(str, value))})"
    return str(value)[:200]


def missing(field: str) -> ApiError:
    """A required field was not given (400/11)."""
    return ApiError(400, 11, "Required fields are missing", fields=field)


def invalid(message: str, **data: Any) -> ApiError:
    """A value has a wrong type or is out of range (400/12)."""
    return ApiError(400, 12, f"Validation error ({message})", **data)
