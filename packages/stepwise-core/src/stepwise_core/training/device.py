"""Where to compute, and how to make it repeatable."""

import ctypes
import os
import platform

import torch

from stepwise_core.config import TrainingConfig
from stepwise_core.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` takes the first GPU, else the CPU.

    Raises:
        ConfigError: if this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name not in there:
        raise ConfigError(
            f"no device {name!r} here; this machine has {', '.join(there)}", hint="--device cpu"
        )
    return torch.device(name)


def prepare_torch(config: TrainingConfig) -> torch.device:
    """Set threads and deterministic algorithms for this process, and return the device.

    Raises:
        ConfigError: if this machine does not have the device.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is repeatable only with this
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time, finds no bug here
    return device


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors instead of handing it back to the system.

    glibc maps every block above a threshold anew and unmaps it when it is freed, so each step pays for faulting
    the same pages in again: about a tenth of the time of a CPU training. Elsewhere nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_threshold, largest = -1, -3, 2**31 - 1  # <malloc.h>
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_threshold, 2**30)
    libc.mallopt(m_trim_threshold, largest)


def describe_device(device: torch.device) -> str:
    """Name a device for people, e.g. `NVIDIA H100 PCIe` or `cpu (2 threads)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
