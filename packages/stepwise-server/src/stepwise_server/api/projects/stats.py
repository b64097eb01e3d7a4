"""What `projects.get_all_ex` tells about the contents of projects."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepwise_server import clock
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import Document
from stepwise_server.store.query.clauses import Clause

STATUSES = (
    *("created", "queued", "in_progress", "stopped", "closed", "failed", "completed"),
    *("publishing", "published", "unknown"),
)

ARCHIVED = "EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'archived')"


@dataclass(slots=True)
class Tally:
    """Sums over tasks."""

    statuses: Counter[str] = field(default_factory=Counter)
    runtime: int = 0
    completed_today: int = 0
    last_started: str = ""

    def add(self, status: str, tasks: int, runtime: int, completed_today: int, started: str | None) -> None:
        """Add tasks of one status."""
        self.statuses[status] += tasks
        self.runtime += runtime
        self.completed_today += completed_today
        self.last_started = max(self.last_started, started or "")

    def shown(self) -> Document:
        """Return the sums as answers have them."""
        shown: Document = {
            "status_count": {status: self.statuses[status] for status in STATUSES},
            "total_tasks": self.statuses.total(),
            "total_runtime": self.runtime,
            "completed_tasks_24h": self.completed_today,
        }
        if self.last_started:
            shown["last_task_run"] = clock.milliseconds(self.last_started)
            shown["max_task_started"] = self.last_started
        return shown


def task_stats(
    tx: Transaction, families: Mapping[str, Sequence[str]], tasks: Clause
) -> dict[str, dict[str, Document]]:
    """Return sums over the tasks of projects.

    Args:
        tx: reads.
        families: for each project the ids of the projects whose tasks count for it.
        tasks: condition that tasks have to meet.

    Returns:
        For each project `{active: …, archived: …}`.
    """
    every = sorted({each for family in families.values() for each in family})
    rows = tx.execute(
        f"SELECT project, {ARCHIVED}, status, count(*), coalesce(sum(active_duration), 0),"
        " sum(completed IS NOT NULL AND completed > ?), max(started) FROM tasks"
        f" WHERE project IN (SELECT value FROM json_each(?)) AND ({tasks.text}) GROUP BY 1, 2, 3",
        [clock.iso_ago(24 * 3600), json.dumps(every), *tasks.values],
    )
    by_project: dict[str, list[tuple[Any, ...]]] = {}
    for project, *sums in rows:
        by_project.setdefault(project, []).append(tuple(sums))
    stats = {}
    for project, family in families.items():
        tallies = (Tally(), Tally())
        for member in family:
            for archived, *sums in by_project.get(member, ()):
                tallies[archived].add(*sums)
        stats[project] = {"active": tallies[0].shown(), "archived": tallies[1].shown()}
    return stats


def families(tx: Transaction, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return for each project itself and all projects below it."""
    found = {each: [each] for each in ids}
    for project, path in tx.execute("SELECT id, path FROM projects WHERE path != '[]'"):
        for above in json.loads(path):
            if above in found:
                found[above].append(project)
    return found


def children(tx: Transaction, ids: Sequence[str], *, hidden: bool) -> dict[str, list[Document]]:
    """Return the projects directly below each of these, by name."""
    found: dict[str, list[Document]] = {each: [] for each in ids}
    rows = tx.execute(
        "SELECT parent, id, name FROM projects WHERE parent IN (SELECT value FROM json_each(?))"
        " AND (? OR NOT EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'hidden')) ORDER BY name",
        [json.dumps(list(ids)), hidden],
    )
    for parent, project, name in rows:
        found[parent].append({"id": project, "name": name})
    return found


def own_contents(tx: Transaction, ids: Sequence[str], tasks: Clause) -> dict[str, tuple[int, int]]:
    """Return how many tasks and models that are not archived lie directly in each of these projects."""
    counted = {each: [0, 0] for each in ids}
    for place, (table, condition) in enumerate((("tasks", tasks), ("models", Clause("1")))):
        for project, number in tx.execute(
            f"SELECT project, count(*) FROM {table} WHERE project IN (SELECT value FROM json_each(?))"
            f" AND NOT {ARCHIVED} AND ({condition.text}) GROUP BY 1",
            [json.dumps(list(ids)), *condition.values],
        ):
            counted[project][place] = number
    return {project: (both[0], both[1]) for project, both in counted.items()}


def dataset_stats(tx: Transaction, ids: Sequence[str]) -> dict[str, Document]:
    """Return the files and bytes of the newest version of each project that is a dataset."""
    rows = tx.execute(
        "SELECT project, json_extract(doc, '$.runtime.ds_file_count'),"
        " json_extract(doc, '$.runtime.ds_total_size'), max(last_update) FROM tasks"
        " WHERE project IN (SELECT value FROM json_each(?))"
        " AND EXISTS (SELECT 1 FROM json_each(system_tags) WHERE value = 'dataset') GROUP BY project",
        [json.dumps(list(ids))],
    )
    return {
        project: {"file_count": _whole(files), "total_size": _whole(size)} for project, files, size, _ in rows
    }


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
