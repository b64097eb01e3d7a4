"""Ctrl-C and SIGTERM: the first asks training to save and stop, a second leaves at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NOTICE = b"\nstopping: saving a checkpoint; press Ctrl-C again to leave at once\n"


class StopRequest:
    """Whether somebody asked to stop.

    Attributes:
        signal_name: which signal asked, or None.
    """

    signal_name: str | None = None

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self.signal_name is not None


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request that training looks at between batches.

    Only the main thread can catch signals; in other threads the request never comes.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request.requested:
            os._exit(130)
        request.signal_name = signal.Signals(number).name
        os.write(2, _NOTICE)  # not print: the signal may have come in the middle of one

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
