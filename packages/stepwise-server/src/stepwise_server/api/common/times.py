"""The span of time that a report is asked for."""

from stepwise_server.api.call import Call
from stepwise_server.errors import invalid, missing


def requested_times(call: Call) -> range:
    """Return `from_date`, `to_date` (seconds since 1970) and `interval` (seconds) of a call, all in milliseconds.

    Raises:
        ApiError: 400/11 if one is missing, 400/12 if they make no sense.
    """
    for name in ("from_date", "to_date", "interval"):
        if not call.given(name):
            raise missing(name)
    start, end = call.number("from_date", 0.0) or 0.0, call.number("to_date", 0.0) or 0.0
    interval = call.integer("interval") or 0
    if interval < 1:
        raise invalid("interval must be at least 1 second", interval=interval)
    if not -1e11 < start <= end < 1e11:
        raise invalid("from_date must not be after to_date", from_date=start, to_date=end)
    return range(round(start * 1000), round(end * 1000), interval * 1000)
