"""Failed logins, counted for a while: guessing is slow, and costs the server no password hashing."""

import threading
import time
from collections import deque

from stepwise_server import limits
from stepwise_server.errors import ApiError


class FailedLogins:
    """The failures of the last `limits.FAILED_LOGIN_SECONDS`, by name and address."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, name: str, address: str) -> None:
        """Let a login through, or not.

        Raises:
            ApiError: 401/22 after `limits.FAILED_LOGINS` failures with this name from this address, or ten times
                as many from this address.
        """
        with self._lock:
            for key, allowed in self._keys(name, address):
                times = self._recent(key)
                if len(times) >= allowed:
                    wait = round(times[0] + limits.FAILED_LOGIN_SECONDS - time.monotonic()) + 1
                    raise ApiError(401, 22, "Unauthorized (too many failed logins)", wait_seconds=wait)

    def add(self, name: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            if (
                len(self._failures) > limits.FAILED_LOGIN_NAMES
            ):  # somebody tries names: only addresses are kept
                self._failures = {key: times for key, times in self._failures.items() if not key[1]}
            for key, _ in self._keys(name, address):
                self._failures.setdefault(key, deque()).append(time.monotonic())

    def _recent(self, key: tuple[str, str]) -> deque[float]:
        times = self._failures.get(key, deque())
        while times and times[0] < time.monotonic() - limits.FAILED_LOGIN_SECONDS:
            times.popleft()
        if not times:
            self._failures.pop(key, None)
        return times

    @staticmethod
    def _keys(name: str, address: str) -> list[tuple[tuple[str, str], int]]:
        own = (address, f"name {name[:100]}")
        return [(own, limits.FAILED_LOGINS), ((address, ""), 10 * limits.FAILED_LOGINS)]
