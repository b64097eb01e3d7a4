"""A configuration small enough for a test of the command line, and the command in a process of its own."""

import subprocess
import sys
from collections.abc import Callable

TINY = """\
# Copy three to eight letters: two epochs of eight steps.
preset: modern
model:
  d_model: 16
  n_heads: 2
  n_layers: 1
  max_length: 16
  dropout: 0.1
data:
  name: copy
  n_train: 240
  n_valid: 20
  n_test: 20
  toy:
    min_length: 3
    max_length: 8
training:
  batch_size: 32
  epochs: 2
  warmup_steps: 3
  device: cpu
  threads: 1
evaluation:
  n_samples: 2
logging:
  log_validation_every: 6
  log_training_every: 1
  log_code: false
"""

Fails = Callable[..., str]
"""Runs a command that is to fail: (exit code, arguments…) -> what it explained."""


def start_stepwise(*arguments: object) -> "subprocess.Popen[str]":
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "stepwise_cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
