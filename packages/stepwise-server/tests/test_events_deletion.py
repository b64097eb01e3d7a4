"""Deleting events: gone at once, and the rows in pieces when nobody waits."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from event_tools import chart, new_model, new_task, report, scalar, task_of

from stepwise_server.store import sweeping
from stepwise_server.store.database import Database, Transaction
from stepwise_server.store.metrics import delete_events
from stepwise_server.testing import ApiFailure, LocalServer


def rows(database: Database, *tables: str) -> list[int]:
    return database.read(lambda tx: [tx.value(f"SELECT count(*) FROM {table}") for table in tables])


def until_swept(database: Database) -> None:
    """Wait until the writer has removed everything that was deleted."""
    give_up = time.monotonic() + 20
    while rows(database, "litter") != [0]:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_everything_is_gone_at_once(server: LocalServer) -> None:
    task = new_task(server)
    picture = {"type": "training_debug_image", "task": task, "metric": "m", "variant": "v", "iter": 1}
    server.events(
        scalar(task, 0, 1.0), {"type": "log", "task": task, "msg": "x"}, {**picture, "url": "http://a"}
    )
    assert server.api("events.delete_for_task", task=task) == {"deleted": True}
    assert server.api("events.scalar_metrics_iter_histogram", task=task) == {}
    assert server.api("events.get_task_events", task=task)["total"] == 0
    assert server.api("events.get_task_log", task=task)["total"] == 0
    assert server.api("events.debug_images", metrics=[{"task": task}])["metrics"][0]["iterations"] == []
    assert (
        server.api("events.get_task_metrics", tasks=[task], event_type="all")["metrics"][0]["metrics"] == []
    )
    assert task_of(server, task)["last_metrics"] == {}


def test_rows_are_removed_in_pieces(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PIECE_ROWS", 500)
    task, other = new_task(server), new_task(server)
    database = server.services.database
    report(server, other, [(0, 5.0)])
    until_swept(database)
    before = rows(database, "scalars", "scalar_blocks", "logs")
    report(server, task, [(at, 1.0) for at in range(20_000)])
    server.events(*[{"type": "log", "task": task, "msg": "x", "timestamp": at // 700} for at in range(3000)])
    server.api("events.delete_for_task", task=task)
    report(server, task, [(at, 2.0) for at in range(3)])  # under a new id, while the old rows go
    until_swept(database)
    assert rows(database, "scalars", "scalar_blocks", "logs") == [before[0] + 3, before[1], before[2]]
    assert chart(server, task) == ([0, 1, 2], [2.0, 2.0, 2.0])
    assert chart(server, other) == ([0], [5.0])


def test_sweeping_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "server.sqlite"
    database = Database(path)

    def litter(tx: Transaction) -> None:
        tx.executemany("INSERT INTO scalars VALUES (7, ?, 1, 1)", [(at,) for at in range(30)])
        tx.execute("INSERT INTO litter VALUES ('series', 7)")

    with monkeypatch.context() as patch:
        patch.setattr("stepwise_server.store.database.sweep", lambda tx: False)
        database.write(litter)
        database.close()
    database = Database(path)
    until_swept(database)
    assert rows(database, "scalars") == [0]
    database.close()


def test_ids_of_series_are_never_used_again(server: LocalServer) -> None:
    database, task = server.services.database, new_task(server)

    def newest(tx: Transaction) -> Any:
        return tx.value("SELECT max(id) FROM series")

    report(server, task, [(0, 1.0)])
    first = database.read(newest)
    server.api("events.delete_for_task", task=task)
    report(server, task, [(0, 1.0)])
    assert database.read(newest) > first


def test_reports_and_deletions_at_once_leave_no_orphans(server: LocalServer) -> None:
    """Calls share transactions, and ids of series are remembered between them: no point may go to a deleted one."""
    task, database = new_task(server), server.services.database

    def client(number: int) -> None:
        for step in range(60):
            if (step + number) % 7 == 0:
                server.api("events.delete_for_task", task=task)
            else:
                line = {"type": "log", "task": task, "msg": "x"}
                server.events(scalar(task, step, 1.0), scalar(task, step, 1.0, variant=f"{number}"), line)

    server.api("debug.ping")
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(client, range(8)))
    until_swept(database)
    orphans = database.read(
        lambda tx: [
            tx.value("SELECT count(*) FROM scalars WHERE series NOT IN (SELECT id FROM series)"),
            tx.value("SELECT count(*) FROM logs WHERE console NOT IN (SELECT id FROM consoles)"),
        ]
    )
    assert orphans == [0, 0]
    lines = server.api("events.get_task_log", task=task)
    assert lines["total"] == lines["returned"]


def test_deletion_names_the_files(server: LocalServer) -> None:
    task = new_task(server)
    picture = {"type": "training_debug_image", "task": task, "metric": "m", "variant": "v"}
    server.events(
        {**picture, "iter": 1, "url": "http://files/b"}, {**picture, "iter": 2, "url": "http://files/b"}
    )
    figure = '{"data":[{"source":"http://files/c"}],"layout":{"images":[{"source":"http://files/a"}]}}'
    plot = {"type": "plot", "task": task, "metric": "p"}
    server.events({**plot, "iter": 1, "plot_str": figure}, {**plot, "iter": 2, "plot_str": "no figure"})
    found = server.services.database.write(lambda tx: delete_events(tx, task))
    assert found == ["http://files/a", "http://files/b", "http://files/c"]


def test_published_tasks_and_models_are_protected(server: LocalServer) -> None:
    task = new_task(server)
    server.events(scalar(task, 0, 1.0), {"type": "log", "task": task, "msg": "x"})
    server.api("tasks.publish", task=task, force=True)
    for call in ("events.delete_for_task", "events.clear_task_log"):
        with pytest.raises(ApiFailure) as failure:
            server.api(call, task=task)
        assert (failure.value.code, failure.value.subcode) == (400, 101)
        server.api(call, task=task, allow_locked=True)
    model = new_model(server)
    server.events(scalar(model, 0, 1.0, model_event=True))
    assert server.api("events.delete_for_model", model=model) == {"deleted": True}
    with pytest.raises(ApiFailure) as failure:
        server.api("events.delete_for_model", model=new_model(server, ready=True))
    assert failure.value.subcode == 201


def test_deleting_a_task_deletes_its_events(server: LocalServer) -> None:
    task, database = new_task(server), server.services.database
    report(server, task, [(0, 1.0)])
    server.api("tasks.delete", task=task, force=True)
    assert database.read(lambda tx: tx.value("SELECT count(*) FROM series WHERE owner = ?", [task])) == 0
