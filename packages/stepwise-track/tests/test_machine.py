"""The machine is measured while a run goes on, also on other ranks, and at its end all is quiet."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepwise_track import ExperimentLogger, TrackError, limits, read_run, read_series
from stepwise_track.capture.gpus import Gpus
from stepwise_track.capture.machine import MachineMonitor, MachineSampler
from stepwise_track.events import Scalars


def eventually(is_true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_busy_process_shows(tmp_path: Path) -> None:
    sampler = MachineSampler(tmp_path)
    held = bytearray(100_000_000)
    (tmp_path / "data").write_bytes(held)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    values = sampler.sample()
    assert values["process_cpu_percent"] > 30
    assert values["process_memory_gb"] > 0.1
    assert values["memory_used_gb"] > 0.1 and 0 < values["memory_percent"] <= 100
    assert values["disk_free_gb"] > 0 and 0 <= values["disk_used_percent"] <= 100
    assert {name for name in values if name.endswith("_mb_per_s")} <= {
        f"{name}_mb_per_s" for name in ("disk_read", "disk_write", "network_received", "network_sent")
    }
    assert all(value >= 0 for value in values.values())


def test_figures_are_curves_over_seconds(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path, log_code=False, system_metrics=0.1):
        eventually(lambda: len(read_series(tmp_path).get("machine/cpu_percent", [])) >= 3)
        assert "machine" in threads()
    assert "machine" not in threads()
    curve = read_series(tmp_path)["machine/process_memory_gb"]
    places = [place for place, _, _ in curve]
    assert places == sorted(places) and 0.05 < places[0] < 10 and places[1] - places[0] > 0.05
    events = [one.event for one in read_run(tmp_path).records if isinstance(one.event, Scalars)]
    assert {(event.axis, event.step) for event in events} == {("seconds", None)}


def test_a_resumed_run_counts_its_seconds_on(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path, log_code=False, system_metrics=False):
        pass
    begun = read_run(tmp_path).records[0].time
    time.sleep(0.5)
    with ExperimentLogger("p", run_dir=tmp_path, log_code=False, system_metrics=0.1, resume_step=0):
        eventually(lambda: "machine/cpu_percent" in read_series(tmp_path))
    place, _, at = read_series(tmp_path)["machine/cpu_percent"][0]
    assert place > 0.5 and place == pytest.approx(at - begun, abs=0.3)


def test_no_run_has_a_curve_with_one_point(tmp_path: Path) -> None:
    with ExperimentLogger("p", run_dir=tmp_path / "short", log_code=False):
        pass
    assert read_series(tmp_path / "short") == {}
    with ExperimentLogger("p", run_dir=tmp_path / "longer", log_code=False, system_metrics=0.5):
        eventually(lambda: "machine/cpu_percent" in read_series(tmp_path / "longer"))
    assert len(read_series(tmp_path / "longer")["machine/cpu_percent"]) == 2


def test_a_hanging_driver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SYSTEM_METRICS_STOP_S", 0.1)
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> dict[str, float]:
        asked.set()
        go_on.wait()
        return {"cpu_percent": 1.0}

    taken: list[dict[str, float]] = []
    monitor = MachineMonitor(lambda: hang, taken.append, 0.1)
    monitor.start()
    assert asked.wait(10)
    begun = time.monotonic()
    monitor.stop()
    assert time.monotonic() - begun < 2
    go_on.set()
    eventually(lambda: "machine" not in threads())
    assert taken == []


def test_a_failing_driver_ends_the_measuring_and_nothing_else(warnings: list[str]) -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError("driver gone")

    monitor = MachineMonitor(lambda: fail, lambda values: None, 0.1)
    monitor.start()
    eventually(lambda: warnings == ["the machine is not measured any more: driver gone"])
    monitor.stop()


def test_gpus_are_described_where_there_are_any() -> None:
    gpus = Gpus()
    values = gpus.sample()
    assert (gpus.driver is None) == (gpus.cuda is None) == (not gpus.devices)
    for index, device in enumerate(gpus.devices):
        assert 0 <= values[f"gpu_{index}_memory_used_gb"] * 1e9 <= device["memory_bytes"]


def test_a_gpu_is_measured_as_far_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names and units of NVIDIA's library, because most machines that run this have no GPU."""

    class NotSupported(Exception):
        pass

    def power(handle: int) -> int:
        if handle == 1:
            raise NotSupported
        return 123_456

    library = SimpleNamespace(
        NVMLError=NotSupported,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlSystemGetDriverVersion=lambda: b"550.54",
        nvmlSystemGetCudaDriverVersion=lambda: 12040,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "NVIDIA H100",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80_000_000_000, used=16_500_000_000),
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=97),
        nvmlDeviceGetTemperature=lambda handle, sensor: 61,
        nvmlDeviceGetPowerUsage=power,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    gpus = Gpus()
    assert (gpus.driver, gpus.cuda) == ("550.54", "12.4")
    assert gpus.devices == [{"name": "NVIDIA H100", "memory_bytes": 80_000_000_000}] * 2
    assert gpus.sample() == {
        **{f"gpu_{index}_utilization_percent": 97 for index in (0, 1)},
        **{f"gpu_{index}_memory_used_gb": 16.5 for index in (0, 1)},
        **{f"gpu_{index}_temperature_c": 61 for index in (0, 1)},
        "gpu_0_power_w": 123.456,
    }


RANKS = (
    "import os, sys, time; from stepwise_track import ExperimentLogger\n"
    "with ExperimentLogger('p', 'name', {'x': 1}, run_dir=sys.argv[1], system_metrics=0.1) as logger:\n"
    "    for step in range(15):\n"
    "        logger.log_training_step(float(os.environ['RANK']), step=step); time.sleep(0.1)\n"
    "    print('rank', os.environ['RANK'])\n"
    "    logger.log_artifact('of every rank', {'rank': os.environ['RANK']})\n"
)


def test_only_rank_0_reports_but_the_hardware_of_all_does(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(tmp_path)],
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank % 2), "WORLD_SIZE": "3"},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    for rank, process in enumerate(processes):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, f"rank {rank}\n", "")
    series = read_series(tmp_path)
    assert [value for _, value, _ in series["train/loss"]] == [0.0] * 15
    assert {"machine/process_cpu_percent", "machine/cpu_percent"} <= series.keys()
    assert len(series["machine/rank_1/process_memory_gb"]) >= 2
    assert "machine/rank_1/cpu_percent" not in series, "rank 0 measures the machine that they share"
    assert "machine/rank_2/cpu_percent" in series, "LOCAL_RANK 0: the first of another machine"
    assert sorted(path.name for path in (tmp_path / "ranks").iterdir()) == ["1", "2"]
    assert json.loads(next((tmp_path / "artifacts").iterdir()).read_text()) == {"rank": "0"}


def test_other_ranks_write_nothing_where_no_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.chdir(tmp_path)
    with ExperimentLogger("p", "name", {"x": 1}) as logger:
        logger.log_training_step(1.0, step=1)
        logger.log_image("x", [[0.5]])
        logger.log_checkpoint(None, None, 1, 1, 1.0, "nowhere")
        with pytest.raises(TrackError, match="cannot finish as 'done'"):
            logger.finish("done")
    assert list(tmp_path.iterdir()) == []
