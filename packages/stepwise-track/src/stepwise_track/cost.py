"""What logging costs the program that logs: every call is timed, at the price of a tenth of a microsecond."""

MAX_MICROSECONDS = 1000
"""Slower calls share one bucket; how slow the slowest was is known anyway."""


class CallCost:
    """Counts log calls and their time.

    Two threads that log at the same instant may count as one: a lock would cost more than the error.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = self.slowest = 0.0
        self._buckets = [0] * (MAX_MICROSECONDS + 1)

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.calls += 1
        self.seconds += seconds
        if seconds > self.slowest:  # noqa: PLR1730 (max() costs three times as much)
            self.slowest = seconds
        bucket = int(seconds * 1e6)
        self._buckets[bucket if bucket < MAX_MICROSECONDS else MAX_MICROSECONDS] += 1

    def quantile(self, share: float) -> float:
        """Return the seconds that this share of the calls did not exceed, to the next microsecond.

        Among the calls slower than a millisecond none is told from another: the slowest stands for them.
        """
        wanted, seen = share * self.calls, 0
        for microseconds, count in enumerate(self._buckets[:MAX_MICROSECONDS]):
            seen += count
            if count and seen >= wanted:
                return min((microseconds + 1) / 1e6, self.slowest)
        return self.slowest

    def summary(self) -> dict[str, int | float]:
        """Return what is reported at the end of a run, as single values below `stepwise/`."""
        return {
            "stepwise/log_calls": self.calls,
            "stepwise/log_seconds": self.seconds,
            "stepwise/log_seconds_median": self.quantile(0.5),
            "stepwise/log_seconds_p99": self.quantile(0.99),
            "stepwise/log_seconds_max": self.slowest,
        }
