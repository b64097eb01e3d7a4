"""What the tests of Weights & Biases share: a place of their own, and W&B's reader of offline folders."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tracker_tools import deliveries

Rows = list[dict[str, Any]]


@contextmanager
def wandb_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the user's W&B is seen or changed, and no server but those of the tests is asked."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    yield
    if "wandb" in sys.modules:  # the SDK reads its variables once
        sys.modules["wandb"].teardown()


def folder_of(run_dir: Path) -> Path:
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    return folder


def read_back(run_dir: Path) -> list[dict[str, Any]]:
    """Return the records of the only offline folder, by W&B's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder_of(run_dir))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def rows_of(records: list[dict[str, Any]]) -> Rows:
    return [row["item"] for row in of_kind(records, "history")]


def summary_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for update in of_kind(records, "summary"):
        summary |= update["update"]
    return summary


def steps_of(rows: Rows, name: str) -> list[tuple[int, Any]]:
    return [(row["step"], row[name]) for row in rows if name in row]


def rows_logged(run_dir: Path) -> list[int]:
    """Return the numbers of the records that make a row; a picture that W&B cannot show is an artifact."""
    kinds = ("scalars", "table", "text", "histogram", "picture")
    made = [one for one in deliveries(run_dir) if one.event.kind in kinds]
    return [one.seq for one in made if getattr(one.event, "name", "") != "broken picture"]
