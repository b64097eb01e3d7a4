"""The server's time: UTC, as ISO strings with microseconds and offset, which sort as text."""

from datetime import UTC, datetime, timedelta

from dateutil import parser


def now() -> str:
    """Return the current time, such as `2026-05-01T12:34:56.123456+00:00`."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """Return a moment in the one form that is stored and sent; one without zone is taken for UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def iso_ago(seconds: float) -> str:
    """Return the time so many seconds ago."""
    return iso(datetime.now(UTC) - timedelta(seconds=seconds))


def parse(text: str) -> datetime:
    """Read a date in any usual form.

    Raises:
        ValueError: if it is none.
    """
    try:
        moment: datetime = parser.isoparse(text) if text[:4].isdigit() else parser.parse(text)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"no date: {text[:40]!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def milliseconds(moment: str) -> int:
    """Return a stored time as milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
