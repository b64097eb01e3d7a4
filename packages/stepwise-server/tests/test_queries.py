"""get_all, get_all_ex, get_by_id, get_by_id_ex: the four flavours, entity by entity."""

from typing import Any

import pytest
from query_tools import model, project, task, write

from stepwise_server.store import entities, queueing
from stepwise_server.store.metrics import name_hash
from stepwise_server.testing import ApiFailure, LocalServer

COMPANY = {"id": entities.COMPANY, "name": "clearml"}


def test_a_task_comes_back_whole_with_plain_references(server: LocalServer) -> None:
    place = write(server, project, "Plain/references")
    made = write(server, task, project=place, runtime={"a.b/c": None, "n": 1})
    shown = server.api("tasks.get_by_id", task=made)["task"]
    assert shown["project"] == place
    assert shown["user"] == "__tests__"
    assert shown["company"] == entities.COMPANY
    assert shown["runtime"] == {"a.b/c": None, "n": 1}
    assert shown["models"] == {"input": [], "output": []}
    assert shown["hyperparams"] == shown["last_metrics"] == shown["metric_stats"] == {}
    assert shown["tags"] == shown["system_tags"] == []
    assert shown["status_message"] == ""
    assert "started" not in shown
    assert shown == server.api("tasks.get_all", id=[made])["tasks"][0]


def test_an_unknown_id_is_the_entitys_error(server: LocalServer) -> None:
    for service, name, subcode in (
        ("tasks", "task", 101),
        ("models", "model", 201),
        ("projects", "project", 401),
        ("queues", "queue", 701),
        ("users", "user", 301),
    ):
        with pytest.raises(ApiFailure) as failure:
            server.api(f"{service}.get_by_id", **{name: "default"})
        assert (failure.value.code, failure.value.subcode) == (400, subcode)
        with pytest.raises(ApiFailure) as failure:
            server.api(f"{service}.get_by_id")
        assert (failure.value.code, failure.value.subcode) == (400, 11)


def test_nothing_found_is_an_empty_list(server: LocalServer) -> None:
    for service in ("tasks", "models", "projects", "queues", "users"):
        assert server.api(f"{service}.get_all", name="^nothing$") == {service: []}
        assert server.api(f"{service}.get_all_ex", name="^nothing$") == {service: []}


def test_references_become_objects_in_the_ex_flavours(server: LocalServer) -> None:
    place = write(server, project, "Expanded/references")
    parent = write(server, task, "the parent", project=place)
    child = write(server, task, "the child", project=place, parent=parent)
    only = ["name", "project.name", "user.name", "parent.project.name", "execution.queue.name", "company"]
    [shown] = server.api("tasks.get_all_ex", id=[child], only_fields=only)["tasks"]
    assert shown == {
        "id": child,
        "name": "the child",
        "project": {"id": place, "name": "Expanded/references"},
        "user": {"id": "__tests__", "name": "Default User"},
        "parent": {"id": parent, "project": {"id": place, "name": "Expanded/references"}},
        "execution": {},
        "company": COMPANY,
    }
    [whole] = server.api("tasks.get_by_id_ex", id=child)["tasks"]
    assert whole["project"] == {"id": place}
    assert whole["parent"] == {"id": parent}
    [deep] = server.api("tasks.get_by_id_ex", id=child, only_fields=["project.*"])["tasks"]
    assert deep["project"]["basename"] == "references"
    [plain] = server.api("tasks.get_all", id=[child], only_fields=["project.name", "execution.queue"])[
        "tasks"
    ]
    assert plain == {"id": child, "project": place, "execution": {}}
    with pytest.raises(ApiFailure) as failure:
        server.api("tasks.get_by_id_ex", only_fields=["name"])
    assert (failure.value.code, failure.value.subcode) == (400, 11)


def test_models_of_a_task_and_references_into_nothing(server: LocalServer) -> None:
    maker = write(server, task, "the maker")
    made = write(server, model, "weights", task=maker, uri="file:///w")
    lists = {"input": [], "output": [{"name": "w", "model": made}, {"name": "x", "model": "f" * 32}]}
    user = write(
        server,
        task,
        "the user",
        models=lists,
        project="e" * 32,
        parent=f"__DELETED__{maker}",
        execution={"queue": "q"},
    )
    only = [
        "models.output.name",
        "models.output.model.name",
        "models.output.model.task.name",
        "models.input.name",
    ]
    [shown] = server.api("tasks.get_by_id_ex", id=[user], only_fields=only)["tasks"]
    first = {"id": made, "name": "weights", "task": {"id": maker, "name": "the maker"}}
    assert shown["models"] == {
        "input": [],
        "output": [{"name": "w", "model": first}, {"name": "x", "model": {"id": "f" * 32}}],
    }
    [shown] = server.api("tasks.get_by_id_ex", id=[user], only_fields=["project.name", "parent.name"])[
        "tasks"
    ]
    assert shown == {"id": user, "project": {"id": "e" * 32}}
    assert server.api("tasks.get_by_id", task=user)["task"]["parent"] == f"__DELETED__{maker}"


def test_metrics_are_joined_to_their_owner_whole_or_in_part(server: LocalServer) -> None:
    made = write(server, task, "measured")
    loss, train = name_hash("loss"), name_hash("train")

    def measure(tx: Any) -> None:
        for metric, variant, value in (("loss", "train", 1.5), ("loss", "test", 2.5), ("lr", "train", 0.1)):
            tx.execute(
                "INSERT INTO series (owner, metric, variant, metric_hash, variant_hash, count, value, max_value)"
                " VALUES (?, ?, ?, ?, ?, 3, ?, 9)",
                [made, metric, variant, name_hash(metric), name_hash(variant), value],
            )

    server.services.database.write(measure)
    whole = server.api("tasks.get_by_id", task=made)["task"]["last_metrics"]
    assert whole[loss][train] == {
        "metric": "loss",
        "variant": "train",
        "value": 1.5,
        "max_value": 9.0,
        "count": 3,
    }
    assert len(whole) == 2

    def part(field: str) -> Any:
        [shown] = server.api("tasks.get_all", id=[made], only_fields=[field])["tasks"]
        return shown["last_metrics"]

    assert part(f"last_metrics.{loss}.{train}.value") == {loss: {train: {"value": 1.5}}}
    assert part(f"last_metrics.{loss}") == {loss: whole[loss]}
    assert part("last_metrics") == whole
    assert part(f"last_metrics.{train}.{loss}.value") == {}


def test_private_and_internal_fields_are_never_shown(server: LocalServer) -> None:
    for service in ("users", "projects"):
        for found in server.api(f"{service}.get_all")[service] + server.api(f"{service}.get_all_ex")[service]:
            assert not {"password_hash", "username", "preferences", "path", "doc"} & found.keys()
    for field in ("password_hash", "preferences"):
        with pytest.raises(ApiFailure) as failure:
            server.api("users.get_all", only_fields=[field])
        assert (failure.value.code, failure.value.subcode) == (400, 14)
    made = write(server, model, "with a cache", ui_cache={"x": 1})
    assert "ui_cache" not in server.api("models.get_by_id", model=made)["model"]
    assert server.api("models.get_all", id=[made], only_fields=["ui_cache"])["models"][0]["ui_cache"] == {
        "x": 1
    }


def test_queues_show_who_waits_and_who_works(server: LocalServer) -> None:
    made = [write(server, task, f"waiting {number}") for number in range(3)]
    queue = server.api("queues.get_all", name="^default$")["queues"][0]["id"]

    def enqueue(tx: Any) -> None:
        for each in made:
            queueing.append(tx, each, queue)

    server.services.database.write(enqueue)
    plain = server.api("queues.get_by_id", queue=queue)["queue"]
    assert [entry["task"] for entry in plain["entries"]] == made
    assert plain["metadata"] == {}
    [shown] = server.api("queues.get_all_ex", id=[queue], only_fields=["*", "entries.task.name"])["queues"]
    assert shown["entries"][0]["task"] == {"id": made[0], "name": "waiting 0"}
    assert shown["workers"] == []
    [cut] = server.api("queues.get_all", id=[queue], max_task_entries=1)["queues"]
    assert len(cut["entries"]) == 1
    [tagged] = server.api("queues.get_all", id=[queue], only_fields=["id", "tags"])["queues"]
    assert tagged == {"id": queue, "tags": []}


def test_queues_of_kubernetes_glue_are_hidden(server: LocalServer) -> None:
    glue = server.api("queues.create", name="glued queue", system_tags=["k8s-glue"])["id"]
    names = [queue["name"] for queue in server.api("queues.get_all")["queues"]]
    assert names == ["default"]
    for params in ({"id": [glue]}, {"name": "glued"}, {"search_hidden": True, "system_tags": ["k8s-glue"]}):
        assert [queue["id"] for queue in server.api("queues.get_all", **params)["queues"]] == [glue]


def test_users_who_are_active_in_projects(server: LocalServer) -> None:
    def add(tx: Any) -> None:
        user = {"id": "u" * 32, "name": "Ada", "role": "user", "created": tx.now}
        entities.insert(tx, entities.USER, user)

    server.services.database.write(add)
    place = write(server, project, "Ada's place/inside")
    write(server, task, user="u" * 32, project=place)
    top = server.api("projects.get_all", name="^Ada's place$")["projects"][0]["id"]
    active = server.api("users.get_all_ex", active_in_projects=[top])["users"]
    assert [user["name"] for user in active] == ["Ada"]
    assert len(server.api("users.get_all_ex", active_in_projects=[])["users"]) == 2
    assert server.api("users.get_by_id", user="u" * 32)["user"]["name"] == "Ada"


def test_models_count_their_labels(server: LocalServer) -> None:
    made = write(server, model, "labelled", labels={"cat": 1, "dog": 2}, ready=True)
    [shown] = server.api("models.get_all_ex", id=[made], include_stats=True)["models"]
    assert shown["stats"] == {"labels_count": 2}
    assert shown["ready"] is True
    assert shown["metadata"] == shown["design"] == shown["last_metrics"] == {}
