"""What sending a run to every tracker costs its training: the same training with and without them, in turns.

`python bench/overhead.py` trains a small model, logging every step, with a ClearML server on the same machine, W&B
offline, MLflow and TensorBoard, and with no tracker at all; it prints the seconds of training and their ratio.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from stepwise_server.installation import read_client
from stepwise_server.ops import launch
from stepwise_server.ops.clients import variables
from stepwise_server.ops.control import stop
from stepwise_track.reader import read_series

ALL = "clearml,wandb,mlflow,tensorboard"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of trainings (default 3)")
    parser.add_argument("--steps", type=int, default=400, help="steps of each (default 400)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = launch.detach(launch.Launch(folder / "server", port=0))
        try:
            environment = {**os.environ, **variables(server.url, read_client(folder / "server"))}
            environment |= {"WANDB_MODE": "offline", "STEPWISE_RUNS_DIR": str(folder / "runs")}
            pairs = []
            for number in range(arguments.rounds):
                pair = [
                    _train(f"{kind}-{number}", kind, arguments.steps, environment) for kind in ("none", ALL)
                ]
                print(f"without {pair[0]:.2f} s, with all {pair[1]:.2f} s", file=sys.stderr)
                pairs.append(pair)
        finally:
            stop(folder / "server")
    ratios = [both / alone for alone, both in pairs]
    print(
        f"training with {ALL} against none, every step logged: {statistics.median(ratios):.3f} times as long"
    )


def _train(run: str, trackers: str, steps: int, environment: dict[str, str]) -> float:
    """Train once and return the seconds of its steps."""
    run = run.replace(",", "-")
    settings = {"logging.log_training_every": 1, "training.max_steps": steps, "training.epochs": 1000}
    settings |= {"training.threads": 1, "logging.log_validation_every": 10 * steps}
    flags = [f"--set={key}={value}" for key, value in settings.items()]
    command = [
        sys.executable,
        "-m",
        "stepwise_cli",
        "train",
        "dates-smoke",
        "--run-name",
        run,
        "--track",
        trackers,
    ]
    done = subprocess.run(
        [*command, "--no-evaluate", *flags], env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    curve = read_series(Path(environment["STEPWISE_RUNS_DIR"]) / run)["train/loss"]
    return curve[-1][2] - curve[0][2]  # from the first logged step to the last


if __name__ == "__main__":
    main()
