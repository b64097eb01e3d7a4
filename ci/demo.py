"""`make demo`: train the date transformer, watched by a ClearML server of one's own; safe to run again.

The server goes on afterwards, so that one can look; `make down` stops it. A run that was interrupted is taken up
again, a finished one is shown again. With --smoke everything is small and temporary: server and run last as
long as the demo, and what the server received is read back with ClearML's own SDK.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stepwise_server.errors import ServerError
from stepwise_server.installation import read_client
from stepwise_server.ops import launch
from stepwise_server.ops.clients import variables
from stepwise_server.ops.control import stop
from stepwise_server.ops.folder import Running, default_folder, find_running

GOAL = 0.99  # exact match on dates never seen in training


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a small budget: seconds, not minutes")
    if parser.parse_args().smoke:
        with tempfile.TemporaryDirectory(prefix="stepwise-demo-") as folder:
            os.environ["STEPWISE_RUNS_DIR"] = str(Path(folder) / "runs")
            return smoke(Path(folder) / "server")
    server = find_running(default_folder()) or start(default_folder())
    code = train("dates", "demo", server)
    if code != 0:
        return code
    score = json.loads((run_folder("demo") / "evaluation.json").read_text(encoding="utf-8"))["scores"][
        "exact_match"
    ]
    if score < GOAL:
        print(f"error: exact match {score:.2%} is below the goal of {GOAL:.0%}", file=sys.stderr)
        return 1
    print(f"the server goes on at {server.url}; to stop it: make down")
    return 0


def start(folder: Path, port: int = 8008) -> Running:
    """Start a server on a folder, at another port if that one is taken."""
    try:
        return launch.detach(launch.Launch(folder, port=port))
    except ServerError as error:
        if "cannot listen" not in str(error):
            raise
        return launch.detach(launch.Launch(folder, port=0))


def train(config: str, run: str, server: Running) -> int:
    """Train, or go on with, a run that reports to the server; return the exit code."""
    begun = (run_folder(run) / "config.json").is_file()
    arguments = ["resume", run] if begun else ["train", config, "--run-name", run]
    environment = {**os.environ, **variables(server.url, read_client(Path(server.folder)))}
    command = [sys.executable, "-m", "stepwise_cli", *arguments, "--track", "clearml"]
    return subprocess.run(command, env=environment).returncode


def run_folder(run: str) -> Path:
    """Return the folder of a run."""
    return Path(os.environ.get("STEPWISE_RUNS_DIR", "runs")) / run


def smoke(folder: Path) -> int:
    """Train a little against a server of its own, read the metrics back, and stop it again."""
    server = start(folder, port=0)
    try:
        code = train("dates-smoke", "demo-smoke", server)
        return code if code != 0 else read_back(server)
    finally:
        stop(folder)


READER = """
import json, sys
from clearml import Task
task = Task.get_task(task_id=sys.argv[1])
print("READ", json.dumps([task.status, task.get_reported_scalars(), task.get_reported_single_values()]))
"""


def read_back(server: Running) -> int:
    """Compare what the SDK reads from the server with what the run folder holds."""
    from stepwise_track.reader import read_run

    run = run_folder("demo-smoke")
    state = json.loads((run / "relay" / "clearml.json").read_text(encoding="utf-8"))["state"]
    environment = {**os.environ, **variables(server.url, read_client(Path(server.folder)))}
    done = subprocess.run(
        [sys.executable, "-c", READER, state["task"]], env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        print(f"error: the SDK cannot read the run back:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    journal = read_run(run)
    status, curves, single = json.loads(done.stdout.rpartition("READ ")[2])
    written = {int(step): value for step, value, _ in journal.series()["train/loss"]}
    received: Any = curves.get("loss", {}).get("train", {"x": [], "y": []})
    same = written == dict(zip(received["x"], received["y"], strict=True))
    score = journal.single_values()["exact_match"]
    if status != "completed" or not same or single.get("exact_match") != score:
        print(f"error: the server has another run: {status}, {len(received['x'])} points", file=sys.stderr)
        return 1
    print(
        f"read back from the server: completed, {len(written)} points of train/loss, exact_match {score:.2%}"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the training has saved its checkpoint and said so
        sys.exit(130)
    except ServerError as error:
        print(f"error: {error}\n  next: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
