"""The ClearML server of the user, or of this machine; whatever goes wrong there is one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stepwise_cli.trackers import clearml_is_configured, local_server, use_local_server
from stepwise_track.errors import TrackError

if TYPE_CHECKING:
    from stepwise_track.backends.clearml.connection import Connection


class ServerUnreachable(TrackError):
    """The ClearML server does not answer."""

    exit_code = 4


class ServerRefuses(TrackError):
    """The ClearML server does not accept the credentials, or what they allow is not enough."""

    exit_code = 5


def server_is_known() -> bool:
    """Tell whether there is a ClearML server to ask: a configured one, or one that runs on this machine."""
    return clearml_is_configured() or local_server() is not None


@contextmanager
def connected() -> Iterator["Connection"]:
    """Connect to the server; failures of calls inside the block are explained too.

    Raises:
        ServerUnreachable: if none is known, or it does not answer.
        ServerRefuses: if it refuses the credentials.
        TrackError: if it refuses a call for another reason.
    """
    if not server_is_known():  # the SDK would ask a public one
        raise ServerUnreachable(
            "no ClearML server runs on this machine, and none is configured",
            hint="stepwise server start, or set CLEARML_API_HOST and its access key",
        )
    if not clearml_is_configured():
        use_local_server()
    from stepwise_track.backends.clearml.connection import CallError, Connection
    from stepwise_track.backends.protocol import Rejected, Unreachable

    try:
        yield Connection()
    except Unreachable as error:
        raise ServerUnreachable(
            f"the ClearML server does not answer: {error}", hint="stepwise server status"
        ) from None
    except Rejected as error:
        raise ServerRefuses(
            f"the ClearML server refuses: {error}", hint="check CLEARML_API_ACCESS_KEY and its secret"
        ) from None
    except CallError as error:
        raise TrackError(
            f"the ClearML server refuses {error}", hint="stepwise remote list   (the tasks there are)"
        ) from None
