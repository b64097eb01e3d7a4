"""What a run ran on: code, packages, machine. Enough to repeat it, collected without slowing it."""

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import psutil
from loguru import logger as log

from stepwise_track import limits
from stepwise_track.capture.gpus import Gpus
from stepwise_track.secrets import redact, redact_arguments


def collect_environment(*, with_code: bool = True, entry_point: str | None = None) -> dict[str, Any]:
    """Describe code, packages and machine.

    torch is asked about GPUs only if the program has imported it already.

    Args:
        with_code: whether to ask git about commit, branch and changes.
        entry_point: how to start the program again; by default as this process was started.

    Returns:
        Plain values under `git` (None outside a repository), `command`, `python`, `platform`, `packages`
        (version by name), `cpu`, `memory_bytes`, `gpu` (None without a GPU's driver and without torch). Without
        secrets.
    """
    return {
        "git": describe_git(Path.cwd()) if with_code else None,
        "command": {
            "arguments": redact_arguments(sys.argv),
            "entry_point": entry_point or _entry_point(),
            "installed": _is_installed(entry_point or _entry_point()),
            "directory": os.getcwd(),
        },
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": {"system": platform.platform(), "machine": platform.machine(), "host": platform.node()},
        "packages": _packages(),
        "cpu": {"name": _cpu_name(), "cores": psutil.cpu_count(logical=False), "threads": psutil.cpu_count()},
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _describe_gpu(),
    }


def write_environment(path: Path, with_code: bool, entry_point: str | None = None) -> None:
    """Write `collect_environment` to a JSON file, whole or not at all; a failure is a warning in the log."""
    part = path.with_suffix(".part")
    try:
        text = json.dumps(
            collect_environment(with_code=with_code, entry_point=entry_point), indent=2, ensure_ascii=False
        )
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        log.warning("cannot describe the environment in {}: {}", path, error)


def describe_git(directory: Path) -> dict[str, Any] | None:
    """Return commit, branch and uncommitted changes of the repository around a folder; None if there is none.

    The diff covers tracked files and is cut at `limits.DIFF_BYTES`. Neither diff nor remote hold secrets.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(directory, "status", "--porcelain") or ""
    diff = (_git(directory, "diff", "HEAD") or "").encode("utf-8", "surrogateescape")
    return {
        "commit": commit.strip(),
        "remote": redact((_git(directory, "remote", "get-url", "origin") or "").strip()),
        "branch": (_git(directory, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "dirty": bool(status),
        "status": status.splitlines()[:1000],
        "diff": redact(diff[: limits.DIFF_BYTES].decode("utf-8", "replace")),
        "diff_cut": len(diff) > limits.DIFF_BYTES,
    }


def _git(directory: Path, *arguments: str) -> str | None:
    """Return what a git command prints, or None if it fails, hangs, or there is no git."""
    command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            timeout=limits.GIT_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode("utf-8", "surrogateescape")


def _entry_point() -> str:
    """Return how to start this program again: `-m package.module`, or the script's path."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return f"-m {spec.name.removesuffix('.__main__')}" if spec else sys.argv[0]


def _is_installed(entry_point: str) -> bool:
    """Whether the program is a module among the installed packages: then its code is no repository's around us."""
    if not entry_point.startswith("-m "):
        return False
    package = entry_point.removeprefix("-m ").split()[0].split(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None)
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return file is not None and any(Path(file).is_relative_to(folder) for folder in folders)


def _packages() -> dict[str, str]:
    """Return the version of every installed package, by its canonical name.

    Both stand in the names of the folders that installers leave behind. To read what is in them takes a hundred
    times as long, and holds the interpreter while the training wants it.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # a zip file, or nothing there
            continue
        for entry in entries:
            stem, suffix = os.path.splitext(entry)
            name, *version = stem.split("-")
            if suffix in (".dist-info", ".egg-info") and version:
                found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version[0])
    return dict(sorted(found.items()))


def _cpu_name() -> str:
    """Return the processor's name; Linux keeps it in /proc, other systems know it themselves."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _describe_gpu() -> dict[str, Any] | None:
    """Describe GPUs, driver and CUDA: by the driver's library, and by torch if it is imported already."""
    gpus = Gpus()
    found: dict[str, Any] = {}
    if gpus.driver:
        found = {"driver": gpus.driver, "driver_cuda": gpus.cuda, "devices": gpus.devices}
    torch: Any = sys.modules.get("torch")
    try:
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        found |= {"torch": str(torch.__version__), "cuda": torch.version.cuda, "cudnn": _cudnn(torch)}
        found["devices"] = [{"name": device.name, "memory_bytes": device.total_memory} for device in devices]
    except AttributeError:  # no torch, or another thread is still importing it
        pass
    return found or None


def _cudnn(torch: Any) -> int | None:
    version: int | None = torch.backends.cudnn.version() if torch.version.cuda else None
    return version
