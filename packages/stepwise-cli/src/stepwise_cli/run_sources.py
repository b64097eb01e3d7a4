"""Where runs are read from: run folders, or the tasks of a ClearML server. Both answer the same questions."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from stepwise_track.errors import TrackError
from stepwise_track.reader import RunJournal, is_run_dir, read_run, resolve_run, run_dirs
from stepwise_track.summary import MetricValue, Mode, RunSummary, best_of, list_runs, summarize

TASK_FIELDS = (
    "id", "name", "status", "project.name", "tags", "comment", "created", "started", "completed", "last_update",
    "active_duration", "last_iteration", "last_metrics",
)  # fmt: skip
"""What is asked of every task: what stands in a line, never its code, its parameters or its packages."""

STATUSES = {"in_progress": "running", "published": "completed", "closed": "completed"}
"""States of a task that a run calls otherwise."""

TASKS_PER_PAGE = 500


class RunSource(Protocol):
    """Runs that can be listed and read.

    Attributes:
        place: where they are, as people call it.
    """

    place: str

    def summaries(self) -> list[RunSummary]:
        """Sum up every run, the newest first."""

    def read(self, name: str) -> tuple[RunSummary, RunJournal]:
        """Return the run that a name means, summed up and as what it has logged.

        Raises:
            TrackError: if there is no such run, or more than one.
        """

    def best(self, metric: str, mode: Mode) -> dict[str, MetricValue | None]:
        """Return the best value of a metric, by run."""

    def metrics(self) -> set[str]:
        """Return the names of all metrics that there are."""

    def link(self, run: RunSummary) -> str:
        """Return where a run is: its folder or its address."""

    def files(self, run: RunSummary, journal: RunJournal) -> list[dict[str, Any]]:
        """Return what is known of every file of a run: kind, name, step, size, path, sha256, present."""


class LocalRuns:
    """The run folders in a folder.

    Args:
        runs_dir: the folder.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.place, self._runs_dir = str(runs_dir), runs_dir

    def summaries(self) -> list[RunSummary]:
        """See `RunSource`."""
        return list_runs(self._runs_dir)

    def read(self, name: str) -> tuple[RunSummary, RunJournal]:
        """See `RunSource`."""
        path = resolve_run(self._runs_dir, name)
        journal = read_run(path)
        return summarize(path, journal), journal

    def best(self, metric: str, mode: Mode) -> dict[str, MetricValue | None]:
        """See `RunSource`."""
        return {path.name: best_of(read_run(path), metric, mode) for path in run_dirs(self._runs_dir)}

    def metrics(self) -> set[str]:
        """See `RunSource`."""
        journals = [read_run(path) for path in run_dirs(self._runs_dir)]
        return {name for one in journals for name in (*one.single_values(), *one.series())}

    def link(self, run: RunSummary) -> str:
        """See `RunSource`."""
        return str(run.path)

    def files(self, run: RunSummary, journal: RunJournal) -> list[dict[str, Any]]:
        """See `RunSource`; of a path that was logged twice, the later."""
        latest = {file["path"]: file for file in _logged_files(journal)}
        return [file | {"present": (run.path / file["path"]).is_file()} for file in latest.values()]


def _logged_files(journal: RunJournal) -> Iterator[dict[str, Any]]:
    from stepwise_track.events import Artifact, Checkpoint, Picture

    for record in journal.current:
        event = record.event
        if isinstance(event, Checkpoint):
            kind, name, files = "checkpoint", "best" if event.is_best else "", event.files
        elif isinstance(event, Artifact):
            kind, name, files = event.role, event.name, event.files
        elif isinstance(event, Picture):
            kind, name, files = event.source, event.name, (event.file,)
        else:
            continue
        for file in files:
            yield {"kind": kind, "name": name, "step": event.step} | asdict(file)


class ServerRuns:
    """The tasks of the ClearML server that is configured, else of the one on this machine.

    A task has its name; where several have the same, the beginning of the id is added.

    Raises:
        TrackError: if the server does not answer (exit code 4) or refuses us (5).
    """

    def __init__(self) -> None:
        from stepwise_cli.trackers import clearml_is_configured, use_local_server

        if not clearml_is_configured():
            use_local_server()
        from stepwise_track.importers.clearml import Server

        self._server = Server()
        self.place = self._server.web_host
        self._known: dict[str, dict[str, Any]] = {}

    def _tasks(self) -> dict[str, dict[str, Any]]:
        """Return the tasks by what they are called here, the newest first."""
        if self._known:
            return self._known
        found: list[dict[str, Any]] = []
        while True:
            page = self._server.call(
                "tasks.get_all_ex",
                only_fields=list(TASK_FIELDS),
                order_by=["-created"],
                system_tags=["-archived"],
                page=len(found) // TASKS_PER_PAGE,
                page_size=TASKS_PER_PAGE,
            )["tasks"]
            found += page
            if len(page) < TASKS_PER_PAGE:
                break
        names = [task["name"] for task in found]
        self._known = {
            task["name"] if names.count(task["name"]) == 1 else f"{task['name']} ({task['id'][:8]})": task
            for task in found
        }
        return self._known

    def summaries(self) -> list[RunSummary]:
        """See `RunSource`."""
        return [_summary(name, task) for name, task in self._tasks().items()]

    def read(self, name: str) -> tuple[RunSummary, RunJournal]:
        """See `RunSource`. A name is that of a task, its id or the beginning of it, its address, `latest`."""
        from stepwise_track.importers.clearml import found_run, get_task, values_of
        from stepwise_track.journal import Record

        if is_run_dir(Path(name)):
            return LocalRuns(Path(name).parent).read(name)
        called = self._resolve(name)
        task = self._tasks()[called]
        document = get_task(self._server, task["id"])
        found = found_run(self._server, document, values_of(self._server, document))
        records = [Record(seq, *one) for seq, one in enumerate(found.records(), start=1)]
        return _summary(called, task), RunJournal(records)

    def _resolve(self, name: str) -> str:
        tasks = self._tasks()
        if name in tasks:
            return name
        if name == "latest" and tasks:
            return next(iter(tasks))
        task_id = (re.findall(r"[0-9a-f]{32}", name) or [name])[-1]
        found = [called for called, task in tasks.items() if task["id"].startswith(task_id)]
        found = found or [called for called in tasks if name and called.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise TrackError(
                f"{name!r} may mean {len(found)} tasks", hint=f"say which: {', '.join(found[:3])}"
            )
        raise TrackError(f"there is no task {name!r} at {self.place}", hint="stepwise runs list --server")

    def best(self, metric: str, mode: Mode) -> dict[str, MetricValue | None]:
        """See `RunSource`; from the extremes that the server keeps of every curve."""
        return {name: _best_of(task, metric, mode) for name, task in self._tasks().items()}

    def metrics(self) -> set[str]:
        """See `RunSource`."""
        return {name for task in self._tasks().values() for name in _last_metrics(task)}

    def link(self, run: RunSummary) -> str:
        """See `RunSource`."""
        if is_run_dir(run.path):
            return str(run.path)
        project = (self._tasks()[run.name].get("project") or {}).get("id", "*")
        return f"{self.place}/projects/{project}/tasks/{run.path}/output/log"

    def files(self, run: RunSummary, journal: RunJournal) -> list[dict[str, Any]]:
        """See `RunSource`."""
        from stepwise_track.importers.clearml import get_task

        task = get_task(self._server, str(run.path))
        return [
            {
                "kind": "artifact",
                "name": item["key"],
                "step": None,
                "size": item.get("content_size") or 0,
                "path": item.get("uri") or "",
                "sha256": item.get("hash") or "",
                "present": True,
            }
            for item in (task.get("execution") or {}).get("artifacts") or []
        ]


def _summary(name: str, task: dict[str, Any]) -> RunSummary:
    """Sum up a task from its document alone; `path` is its id."""
    from stepwise_track.importers.clearml import seconds

    started = seconds(task.get("started") or task.get("created")) or 0.0
    ended = seconds(task.get("completed") or task.get("last_update")) or started
    metrics = _last_metrics(task)
    return RunSummary(
        name=name,
        path=Path(task["id"]),
        status=STATUSES.get(task["status"], task["status"]),
        started=started,
        project=(task.get("project") or {}).get("name", ""),
        tags=tuple(task.get("tags") or ()),
        notes=task.get("comment") or "",
        duration=task.get("active_duration") or (max(0.0, ended - started) if task.get("started") else 0.0),
        steps=max(0, task.get("last_iteration") or 0),
        single_values={
            metric: one["value"]
            for metric, one in metrics.items()
            if _is_single(one) and not metric.startswith("stepwise/")
        },
        best=_best_of(task, "validation/loss", "min"),
    )


def _last_metrics(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return last, lowest and highest value of every metric, by our names."""
    from stepwise_track.importers.clearml import series_name

    found = {}
    for variants in (task.get("last_metrics") or {}).values():
        for one in variants.values():
            single = _is_single(one) and one["metric"] == "Summary"
            name = one["variant"] if single else series_name(one["metric"], one["variant"])
            found[name] = one
    return found


def _is_single(metric: dict[str, Any]) -> bool:
    from stepwise_track.backends.clearml.mapping import SINGLE_VALUE

    return bool(metric.get("min_value_iteration") == SINGLE_VALUE)


def _best_of(task: dict[str, Any], metric: str, mode: Mode) -> MetricValue | None:
    """Return the best value of a metric: by its name, or the end of it, as for run folders."""
    known = _last_metrics(task)
    names = [metric] if metric in known else [name for name in known if name.endswith(f"/{metric}")]
    if len(names) > 1:
        raise TrackError(f"{metric!r} may mean {', '.join(names)}", hint=f"--metric {names[0]}")
    if not names:
        return None
    one = known[names[0]]
    value = one.get(f"{mode}_value", one["value"])
    return MetricValue(names[0], value, None if _is_single(one) else one.get(f"{mode}_value_iteration"))
