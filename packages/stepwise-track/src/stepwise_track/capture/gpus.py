"""What NVIDIA's management library says about the GPUs; nothing where there is none."""

from typing import Any

_GIGABYTE = 1e9


class Gpus:
    """The NVIDIA GPUs of this machine: all of them, whichever the program uses.

    Attributes:
        driver: version of the driver; None without one.
        cuda: highest CUDA version that the driver supports.
        devices: name and memory of each.
    """

    def __init__(self) -> None:
        self.driver: str | None = None
        self.cuda: str | None = None
        self.devices: list[dict[str, Any]] = []
        self._handles: list[Any] = []
        try:
            import pynvml  # type: ignore[import-untyped]

            self._nvml: Any = pynvml
            pynvml.nvmlInit()
            self.driver = _text(pynvml.nvmlSystemGetDriverVersion())
            version = pynvml.nvmlSystemGetCudaDriverVersion()
            self.cuda = f"{version // 1000}.{version % 1000 // 10}"
            self._handles = [
                pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
            ]
            self.devices = [
                {
                    "name": _text(pynvml.nvmlDeviceGetName(handle)),
                    "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                }
                for handle in self._handles
            ]
        except Exception:  # no package, no driver, no permission: then there is nothing to tell
            self._handles = []

    def sample(self) -> dict[str, float]:
        """Return load, memory, temperature and power of each; what a device cannot tell is left out."""
        values: dict[str, float] = {}
        for index, handle in enumerate(self._handles):
            for name, read in (
                ("utilization_percent", self._utilization),
                ("memory_used_gb", self._memory_used),
                ("temperature_c", self._temperature),
                ("power_w", self._power),
            ):
                try:
                    values[f"gpu_{index}_{name}"] = read(handle)
                except self._nvml.NVMLError:
                    continue
        return values

    def _utilization(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def _memory_used(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) / _GIGABYTE

    def _temperature(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetTemperature(handle, self._nvml.NVML_TEMPERATURE_GPU))

    def _power(self, handle: Any) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(handle)) / 1000.0  # it counts in milliwatts


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
