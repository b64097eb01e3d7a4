"""`make bench-track`: what a training pays for logging one step of ten values; ours beside the raw SDKs.

Every logger runs in processes of its own, in its offline mode, with the same values and the same work between two
steps. Nothing is sent anywhere.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from run import processor

HERE = Path(__file__).parent

GOALS = {"median_us": 30.0, "p99_us": 100.0, "max_ms": 10.0, "import_s": 0.3, "start_ms": 50.0}
"""What stepwise-track promises."""


@dataclass(frozen=True)
class Subject:
    """A logger: its name in the table, what is imported, the package whose version is named, and its calls in Python.

    `start` makes it and logs the first values, `log` logs the values `v` of step `i`, `finish` ends it.
    """

    name: str
    module: str
    package: str
    start: str
    log: str
    finish: str


OURS = Subject(
    "stepwise-track",
    "stepwise_track",
    "stepwise-track",
    "logger = stepwise_track.ExperimentLogger('bench', run_dir=folder)\nlogger.log_training_step(**v, step=0)",
    "logger.log_training_step(**v, step=i)",
    "logger.finish()",
)
DURABLE = Subject(
    "stepwise-track, durable=True",
    "stepwise_track",
    "stepwise-track",
    OURS.start.replace("run_dir=folder", "run_dir=folder, durable=True"),
    OURS.log,
    OURS.finish,
)
CLEARML = Subject(
    "ClearML SDK, report_scalar",
    "clearml",
    "clearml",
    "clearml.Task.set_offline(True)\n"
    "task = clearml.Task.init('bench', 'bench', auto_connect_frameworks=False)\n"
    "logger = task.get_logger()\n"
    "for k, x in v.items(): logger.report_scalar('train', k, x, 0)",
    "for k, x in v.items(): logger.report_scalar('train', k, x, i)",
    "task.close()",
)
WANDB = Subject(
    "W&B, wandb.log",
    "wandb",
    "wandb",
    "run = wandb.init(mode='offline', dir=folder, settings=wandb.Settings(silent=True))\nwandb.log(v, step=0)",
    "wandb.log(v, step=i)",
    "wandb.finish()",
)

WORKER = """
import json, sys, time
steps, folder = int(sys.argv[1]), sys.argv[2]
v = {{"loss": 1.0, "learning_rate": 0.1, "gradient_norm": 0.5}}
v |= {{f"metric_{{number}}": 0.1 * number for number in range(7)}}
block = bytearray(2**22)
begun = time.perf_counter()
import {module}
imported = time.perf_counter()
{start}
started = time.perf_counter()
took = []
for i in range(1, steps + 1):
    block.count(1)  # the work between two steps: it takes the caches, as a training does
    t = time.perf_counter()
    {log}
    took.append(time.perf_counter() - t)
ended = time.perf_counter()
{finish}
closed = time.perf_counter()
print("\\n" + json.dumps([imported - begun, started - imported, closed - ended, took]))
"""


def measure(subject: Subject, steps: int, starts: int) -> dict[str, float]:
    """Run a logger and return its figures.

    Args:
        subject: the logger.
        steps: how many steps are logged.
        starts: how many processes tell import and start; the last of them logs the steps.
    """
    imports, begins = [], []
    for number in range(starts):
        imported, started, closed, took = _run(subject, steps if number == starts - 1 else 1)
        imports.append(imported)
        begins.append(started)
    took.sort()
    return {
        "import_s": statistics.median(imports),
        "start_ms": statistics.median(begins) * 1e3,
        "median_us": statistics.median(took) * 1e6,
        "p99_us": took[len(took) * 99 // 100] * 1e6,
        "max_ms": took[-1] * 1e3,
        "total_s": sum(took),
        "finish_s": closed,
    }


def _run(subject: Subject, steps: int) -> tuple[float, float, float, list[float]]:
    program = WORKER.format(
        module=subject.module, start=subject.start, log=subject.log, finish=subject.finish
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "HOME": folder, "CLEARML_CACHE_DIR": folder, "WANDB_SILENT": "true"}
        command = [sys.executable, "-c", program, str(steps), folder]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{subject.name} failed:\n{done.stdout}{done.stderr}")
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("["))
    imported, started, closed, took = json.loads(line)
    return imported, started, closed, took


def page(results: dict[Subject, dict[str, float]], steps: int) -> str:
    """Return the table as a page of Markdown."""
    versions = ", ".join(dict.fromkeys(f"{one.package} {version(one.package)}" for one in results))
    ours = results[OURS]
    missed = [name for name, goal in GOALS.items() if ours[name] > goal]
    lines = [
        "# What logging costs",
        "",
        f"{date.today()}, {processor()}, {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, by `{' '.join(['python', 'bench/track.py', *sys.argv[1:]])}`.",
        "",
        f"{steps:,} steps of ten values, with other work between two steps; every logger in processes of its own, "
        "offline. Console, git, packages and machine are recorded meanwhile, as each does by itself. Start is from "
        f"the constructor to the end of the first call. {versions}.",
        "",
        "| logger | import | start | median of a step | 99 % | slowest | all steps | finish |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for subject, r in results.items():
        lines.append(
            f"| {subject.name} | {r['import_s']:.2f} s | {r['start_ms']:,.1f} ms | {r['median_us']:,.0f} µs "
            f"| {r['p99_us']:,.0f} µs | {r['max_ms']:,.1f} ms | {r['total_s']:,.2f} s | {r['finish_s']:,.2f} s |"
        )
    goals = "| goal for stepwise-track | < 0.3 s | < 50 ms | ≤ 30 µs | ≤ 100 µs | < 10 ms | | |"
    verdict = f"Goals missed: {', '.join(missed)}." if missed else "All goals are met."
    return "\n".join([*lines, goals, "", verdict])


def main() -> None:
    """Measure every logger and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps to log (default 2000)")
    parser.add_argument(
        "--starts", type=int, default=5, help="processes that tell import and start (default 5)"
    )
    parser.add_argument("--only-ours", action="store_true", help="leave the SDKs out")
    parser.add_argument("--save", metavar="NAME", help="keep the table as bench/results/track-NAME.md")
    arguments = parser.parse_args()
    results = {}
    for subject in (OURS, DURABLE) if arguments.only_ours else (OURS, DURABLE, CLEARML, WANDB):
        print(f"{subject.name} …", file=sys.stderr)
        results[subject] = measure(subject, arguments.steps, arguments.starts)
    text = page(results, arguments.steps)
    print(text)
    if arguments.save:
        (HERE / "results" / f"track-{arguments.save}.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
