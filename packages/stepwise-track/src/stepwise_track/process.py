"""Which process writes a run, and whether it still lives."""

import platform

import psutil

from stepwise_track import limits
from stepwise_track.events import ProcessId


def this_process() -> ProcessId:
    """Return the identity of the running process."""
    process = psutil.Process()
    return ProcessId(host=platform.node(), pid=process.pid, started=process.create_time())


def is_alive(process: ProcessId) -> bool | None:
    """Tell whether a process still runs; None if it belongs to another host, where we cannot see it."""
    if process.host != platform.node():
        return None
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < limits.PROCESS_START_TOLERANCE_S
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
