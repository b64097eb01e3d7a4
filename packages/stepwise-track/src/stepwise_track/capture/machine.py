"""Figures of the machine while a run goes on: processor, memory, disk, network, GPUs.

They are curves over the seconds since the run began, because that is what they follow: a machine is busy also while
no step is done. GB and MB are powers of ten.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from loguru import logger as log

from stepwise_track import limits
from stepwise_track.capture.gpus import Gpus

_GIGABYTE, _MEGABYTE = 1e9, 1e6


class MachineSampler:
    """Measures the machine and this process.

    Args:
        folder: the disk of this folder is watched.
        whole_machine: False measures the process only, where another process of this machine does the rest.
    """

    def __init__(self, folder: Path, *, whole_machine: bool = True) -> None:
        self._folder = folder
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call starts the measurement
        self._gpus = Gpus() if whole_machine else None
        if self._gpus:
            psutil.cpu_percent()
            self._counters, self._at = _counters(), time.monotonic()

    def sample(self) -> dict[str, float]:
        """Return the figures now; rates and loads are means since the last call."""
        values = {
            "process_cpu_percent": self._process.cpu_percent(),
            "process_memory_gb": self._process.memory_info().rss / _GIGABYTE,
        }
        if self._gpus:
            memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
            values["cpu_percent"] = psutil.cpu_percent()
            values["memory_percent"] = memory.percent
            values["memory_used_gb"] = (memory.total - memory.available) / _GIGABYTE
            values["disk_used_percent"] = disk.percent
            values["disk_free_gb"] = disk.free / _GIGABYTE
            values |= self._rates()
            values |= self._gpus.sample()
        return values

    def _rates(self) -> dict[str, float]:
        before, seconds = self._counters, time.monotonic() - self._at
        self._counters, self._at = _counters(), time.monotonic()
        return {
            f"{name}_mb_per_s": max(0, count - before[name]) / _MEGABYTE / seconds
            for name, count in self._counters.items()
            if name in before and seconds > 0
        }


def _counters() -> dict[str, int]:
    """Return the bytes that went to and from disk and network since the machine started."""
    counters: dict[str, int] = {}
    if disk := psutil.disk_io_counters():  # None in some containers
        counters |= {"disk_read": disk.read_bytes, "disk_write": disk.write_bytes}
    if network := psutil.net_io_counters():
        counters |= {"network_received": network.bytes_recv, "network_sent": network.bytes_sent}
    return counters


class MachineMonitor:
    """Samples at an interval, in a thread of its own, until it is stopped.

    Args:
        make: makes what takes a sample; called in the thread, because asking a driver for the first time may
            take a second.
        emit: takes the figures.
        interval_s: seconds from one sample to the next.
    """

    def __init__(
        self,
        make: Callable[[], Callable[[], dict[str, float]]],
        emit: Callable[[dict[str, float]], None],
        interval_s: float,
    ) -> None:
        self._make, self._emit = make, emit
        self._interval_s = max(interval_s, limits.SYSTEM_METRICS_MIN_S)
        self._closing = threading.Event()
        self._samples, self._abandoned = 0, False
        self._thread = threading.Thread(target=self._run, name="machine", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End with one more sample, so that no curve has a single point; waits for it, but not for long."""
        self._closing.set()
        self._thread.join(limits.SYSTEM_METRICS_STOP_S)
        self._abandoned = True

    def _run(self) -> None:
        try:
            sample = self._make()
            while not self._closing.wait(self._interval_s):
                self._take(sample)
            if self._samples:
                self._take(sample)
        except Exception as error:  # whatever a driver does, the training is not to suffer
            log.warning("the machine is not measured any more: {}", error)

    def _take(self, sample: Callable[[], dict[str, float]]) -> None:
        values = sample()
        if not self._abandoned:
            self._emit(values)
            self._samples += 1
