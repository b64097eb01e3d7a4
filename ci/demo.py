"""`make demo`: train the date transformer, or go on with it, or show again what it learned; safe to run again.

With --smoke it does the same with a small budget and without a claim to quality.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

GOAL = 0.99  # exact match on dates never seen in training


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a small budget: seconds, not minutes")
    smoke = parser.parse_args().smoke
    config, run = ("dates-smoke", "demo-smoke") if smoke else ("dates", "demo")
    folder = Path(os.environ.get("STEPWISE_RUNS_DIR", "runs")) / run
    begun = (folder / "config.json").is_file()
    arguments = ["resume", run] if begun else ["train", config, "--run-name", run]
    code = subprocess.run([sys.executable, "-m", "stepwise_cli", *arguments]).returncode
    if code != 0:
        return code
    score = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["scores"]["exact_match"]
    if not smoke and score < GOAL:
        print(f"error: exact match {score:.2%} is below the goal of {GOAL:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the training has saved its checkpoint and said so
        sys.exit(130)
