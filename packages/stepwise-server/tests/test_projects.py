"""The projects service: the tree, deletion, statistics, and what tasks and models of projects have."""

from typing import Any

import pytest
from query_tools import model, project, task, write

from stepwise_server.store.metrics import name_hash
from stepwise_server.testing import ApiFailure, LocalServer


def refused(server: LocalServer, endpoint: str, subcode: int, **params: Any) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api(endpoint, **params)
    assert (failure.value.code, failure.value.subcode) == (400, subcode)


def name_of(server: LocalServer, made: str) -> str:
    name: str = server.api("projects.get_by_id", project=made)["project"]["name"]
    return name


def id_of(server: LocalServer, name: str) -> str:
    [found] = server.api("projects.get_all", name=f"^{name}$", search_hidden=True)["projects"]
    made: str = found["id"]
    return made


def names_like(server: LocalServer, pattern: str, **params: Any) -> list[str]:
    found = server.api("projects.get_all_ex", name=pattern, order_by="name", **params)["projects"]
    return [each["name"] for each in found]


def test_parents_are_created_and_names_normalised(server: LocalServer) -> None:
    made = server.api("projects.create", name=" Made // by / hand ", description="d", tags=["b", "a", "b"])[
        "id"
    ]
    shown = server.api("projects.get_by_id", project=made)["project"]
    assert shown["name"] == "Made/by/hand"
    assert shown["basename"] == "hand"
    assert shown["tags"] == ["a", "b"]
    assert shown["parent"] == id_of(server, "Made/by")
    parent = server.api("projects.get_by_id", project=shown["parent"])["project"]
    assert (parent["description"], parent["system_tags"]) == ("", [])
    assert "parent" not in server.api("projects.get_by_id", project=id_of(server, "Made"))["project"]


def test_names_that_are_refused(server: LocalServer) -> None:
    server.api("projects.create", name="Taken/name")
    refused(server, "projects.create", 801, name="Taken / name")
    refused(server, "projects.create", 801, name="Taken")
    refused(server, "projects.create", 800, name=" ab ")
    refused(server, "projects.create", 800, name="////")
    refused(server, "projects.create", 409, name="/".join("abcdefghijk"))
    refused(server, "projects.create", 11)
    server.api("projects.create", name="/".join("abcdefghij"))


def test_only_the_last_part_of_a_name_is_updated_and_those_below_follow(server: LocalServer) -> None:
    server.api("projects.create", name="Renamed/inner/deep")
    server.api("projects.create", name="Renamed/inner2")
    inner, deep = id_of(server, "Renamed/inner"), id_of(server, "Renamed/inner/deep")
    answer = server.api("projects.update", project=inner, name="Renamed/other", description="new")
    assert answer["updated"] == 1
    assert answer["fields"]["name"] == "Renamed/other"
    assert answer["fields"]["basename"] == "other"
    assert name_of(server, deep) == "Renamed/other/deep"
    refused(server, "projects.update", 408, project=inner, name="Elsewhere/other")
    refused(server, "projects.update", 801, project=inner, name="Renamed/inner2")
    refused(server, "projects.update", 401, project="unknown", name="Renamed/x")
    assert server.api("projects.update", project=inner)["updated"] == 0


def test_null_clears_the_output_destination(server: LocalServer) -> None:
    made = server.api("projects.create", name="With output", default_output_destination="s3://bucket")["id"]
    server.api("projects.update", project=made, tags=["x"], description=None)
    assert (
        server.api("projects.get_by_id", project=made)["project"]["default_output_destination"]
        == "s3://bucket"
    )
    server.api("projects.update", project=made, default_output_destination=None)
    assert "default_output_destination" not in server.api("projects.get_by_id", project=made)["project"]


def test_a_project_moves_with_all_below_it(server: LocalServer) -> None:
    for name in ("Move/this/deep", "Move/this/deep/er", "Move/that"):
        server.api("projects.create", name=name)
    this, deeper = id_of(server, "Move/this"), id_of(server, "Move/this/deep/er")
    assert server.api("projects.move", project=this, new_location="New place/inside")["moved"] == 3
    assert name_of(server, deeper) == "New place/inside/this/deep/er"
    found = server.api("projects.get_all", parent=[id_of(server, "New place")])["projects"]
    assert {each["id"] for each in found} >= {this, deeper}
    refused(server, "projects.move", 410, project=this, new_location="New place/inside")
    refused(server, "projects.move", 411, project=this, new_location="New place/inside/this/deep")
    server.api("projects.move", project=this, new_location="")
    assert name_of(server, deeper) == "this/deep/er"
    assert "parent" not in server.api("projects.get_by_id", project=this)["project"]


def test_a_project_cannot_move_deeper_than_ten(server: LocalServer) -> None:
    server.api("projects.create", name="Deep/1/2/3/4/5")
    refused(server, "projects.move", 409, project=id_of(server, "Deep"), new_location="z/y/x/w/v/u")
    assert id_of(server, "Deep/1/2/3/4/5")
    assert names_like(server, "^z") == []


def test_merging_moves_what_is_inside(server: LocalServer) -> None:
    source, target = (write(server, project, name) for name in ("Merged/source", "Merged/target"))
    below = write(server, project, "Merged/source/below")
    inside = write(server, task, project=source)
    refused(server, "projects.merge", 410, project=source, destination=source)
    refused(server, "projects.merge", 412, project=source, destination=below)
    answer = server.api("projects.merge", project=source, destination=target)
    assert answer == {"moved_entities": 1, "moved_projects": 1}
    assert server.api("tasks.get_by_id", task=inside)["task"]["project"] == target
    assert name_of(server, below) == "Merged/target/below"
    refused(server, "projects.get_by_id", 401, project=source)


def test_what_is_inside_stands_against_deletion(server: LocalServer) -> None:
    top = write(server, project, "Full")
    below = write(server, project, "Full/below")
    write(server, task, project=below, system_tags=["archived"])
    write(server, model, project=below, system_tags=["archived"])
    counts = server.api("projects.validate_delete", project=top)
    assert (counts["tasks"], counts["non_archived_tasks"], counts["models"]) == (1, 0, 1)
    for subcode, make, fields in (
        (413, task, {"system_tags": ["pipeline"], "type": "controller"}),
        (406, task, {"system_tags": ["dataset"], "type": "data_processing"}),
        (405, model, {}),
        (402, task, {}),
    ):
        write(server, make, project=below, **fields)
        refused(server, "projects.delete", subcode, project=top)
    counts = server.api("projects.validate_delete", project=top)
    assert (counts["non_archived_tasks"], counts["datasets"], counts["pipelines"]) == (1, 1, 1)


def test_deleted_projects_leave_their_tasks_or_take_them(server: LocalServer) -> None:
    top = write(server, project, "Left behind")
    stays = write(server, task, project=top)
    answer = server.api("projects.delete", project=top, force=True)
    assert (answer["deleted"], answer["disassociated_tasks"]) == (1, 1)
    assert answer["urls"] == {"model_urls": [], "artifact_urls": [], "event_urls": []}
    assert "project" not in server.api("tasks.get_by_id", task=stays)["task"]

    top = write(server, project, "Taken along/below")
    artifact = {"key": "a", "type": "dict", "mode": "output", "uri": "http://elsewhere/a"}
    goes = write(server, task, project=top, execution={"artifacts": [artifact]})
    weights = write(server, model, project=top, uri="http://elsewhere/w", ready=True)
    answer = server.api(
        "projects.delete", project=id_of(server, "Taken along"), force=True, delete_contents=True
    )
    assert (answer["deleted_tasks"], answer["deleted_models"]) == (1, 1)
    assert answer["urls"]["artifact_urls"] == ["http://elsewhere/a"]
    assert answer["urls"]["model_urls"] == ["http://elsewhere/w"]
    refused(server, "tasks.get_by_id", 101, task=goes)
    refused(server, "models.get_by_id", 201, model=weights)
    refused(server, "projects.get_by_id", 401, project=top)


def test_nothing_is_public(server: LocalServer) -> None:
    made = write(server, project, "Not public")
    assert server.api("projects.make_public", ids=[made]) == {"updated": 0}
    refused(server, "projects.make_private", 24, ids=[made])


def test_statistics_cover_those_below(server: LocalServer) -> None:
    top, below = write(server, project, "Counted"), write(server, project, "Counted/below")
    now = server.services.database.read(lambda tx: tx.now)
    write(server, task, project=top, status="completed", completed=now, active_duration=5, started=now)
    write(server, task, project=below, status="failed", completed="2020-01-01T00:00:00.000000+00:00")
    write(server, task, project=below, system_tags=["archived"])
    write(server, model, project=top)

    def shown(**params: Any) -> dict[str, Any]:
        [found] = server.api("projects.get_all_ex", id=[top], include_stats=True, **params)["projects"]
        assert isinstance(found, dict)
        return found

    active = shown()["stats"]["active"]
    assert active["total_tasks"] == 2
    assert active["status_count"]["completed"] == active["status_count"]["failed"] == 1
    assert active["status_count"]["queued"] == 0
    assert (active["total_runtime"], active["completed_tasks_24h"], active["max_task_started"]) == (5, 1, now)
    assert shown()["stats"]["archived"]["total_tasks"] == 1
    assert shown()["sub_projects"] == [{"id": below, "name": "Counted/below"}]
    assert shown(stats_for_state="active")["stats"].keys() == {"active"}
    assert shown(stats_with_children=False)["stats"]["active"]["total_tasks"] == 1
    filtered = shown(include_stats_filter={"status": ["failed"]})["stats"]["active"]
    assert filtered["total_tasks"] == 1
    own = shown(check_own_contents=True)
    assert (own["own_tasks"], own["own_models"]) == (1, 1)


def test_projects_with_datasets_in_them(server: LocalServer) -> None:
    data = write(server, project, "Data/.datasets/set", system_tags=["hidden", "dataset"], tags=["good"])
    write(server, project, "Data/.datasets", system_tags=["hidden"])
    write(server, project, "Data/other")
    write(
        server, task, project=data, system_tags=["dataset"], runtime={"ds_file_count": 3, "ds_total_size": 99}
    )
    assert names_like(server, "^Data", children_type="dataset") == ["Data"]
    assert names_like(server, "^Data", children_type="pipeline") == []
    assert names_like(server, "^Data", children_type="dataset", children_tags=["bad"]) == []
    [top] = server.api("projects.get_all_ex", name="^Data$", children_type="dataset")["projects"]
    assert top["stats"]["datasets"] == {"count": 1, "tags": ["good"]}
    listed = server.api(
        "projects.get_all_ex",
        name="/\\.datasets/",
        system_tags=["dataset"],
        include_dataset_stats=True,
        search_hidden=True,
        scroll_id=None,
        size=5,
    )["projects"]
    assert [each["dataset_stats"] for each in listed] == [{"file_count": 3, "total_size": 99}]
    assert listed[0]["hidden"] is True
    assert names_like(server, "^Data", active_users=["nobody"]) == []
    assert names_like(server, "^Data", active_users=["__tests__"], search_hidden=True) == [
        "Data",
        "Data/.datasets",
        "Data/.datasets/set",
    ]
    own = server.api("projects.get_all_ex", id=[top["id"]], children_type="dataset", check_own_contents=True)
    assert own["projects"][0]["own_datasets"] == 1
    refused(server, "projects.get_all_ex", 12, children_type="frames")


def test_projects_with_reports_in_them(server: LocalServer) -> None:
    folder = write(server, project, "Reported/.reports", system_tags=["hidden", "reports"])
    write(server, task, project=folder, type="report", tags=["weekly"])
    write(server, task, project=folder, type="report", tags=["old"], system_tags=["archived"])
    answer = server.api("projects.get_all_ex", children_type="report", check_own_contents=True)
    [shown] = answer["projects"]
    assert shown["name"] == "Reported"
    assert shown["stats"] == {"reports": {"count": 1, "tags": ["weekly"]}}
    assert shown["own_reports"] == 1
    tagged = {"any": {"include": ["old"]}}
    assert names_like(server, "", children_type="report", children_tags_filter=tagged) == []


def test_metrics_of_a_projects_tasks(server: LocalServer) -> None:
    top, below = write(server, project, "Metrics"), write(server, project, "Metrics/below")
    owners = [
        write(server, task, project=top),
        write(server, task, project=below),
        write(server, model, project=top),
    ]

    def measure(tx: Any) -> None:
        for owner, metric in zip(owners, ("loss", "bleu", "size"), strict=True):
            tx.execute(
                "INSERT INTO series (owner, metric, variant, metric_hash, variant_hash, count)"
                " VALUES (?, ?, 'train', ?, ?, 1)",
                [owner, metric, name_hash(metric), name_hash("train")],
            )

    server.services.database.write(measure)

    def metrics(**params: Any) -> list[str]:
        found = server.api("projects.get_unique_metric_variants", **params)["metrics"]
        return [each["metric"] for each in found]

    assert metrics(project=top) == ["bleu", "loss"]
    assert metrics(project=top, include_subprojects=False) == ["loss"]
    assert metrics(project=None) == ["bleu", "loss"]
    assert metrics(ids=owners[:1]) == ["loss"]
    assert metrics(project=top, model_metrics=True) == ["size"]
    [loss] = server.api("projects.get_unique_metric_variants", ids=owners[:1])["metrics"]
    assert loss == {
        "metric": "loss",
        "metric_hash": "81513effdf5790b79549208838404407",
        "variant": "train",
        "variant_hash": "61b3a8faa9c1091806675c230a9abe64",
    }


def test_parameters_and_metadata_of_projects(server: LocalServer) -> None:
    place = write(server, project, "Parameters")
    for value in ("10", "9", "word", "9"):
        write(
            server, task, project=place, hyperparams={"Ärgs": {'a."b': {"value": value}, "c": {"value": "1"}}}
        )
    answer = server.api("projects.get_hyper_parameters", project=place, page_size=1)
    assert answer == {"total": 2, "remaining": 1, "parameters": [{"section": "Ärgs", "name": 'a."b'}]}

    def values(**params: Any) -> list[str]:
        where = {"projects": [place], "section": "Ärgs", "name": 'a."b'}
        found: list[str] = server.api("projects.get_hyperparam_values", **where, **params)["values"]
        return found

    assert values() == ["9", "10", "word"]
    assert values(pattern="WORD") == ["word"]
    assert values(page=1, page_size=2) == ["word"]
    for value in ("2", "10"):
        write(server, model, project=place, metadata={"rank": {"key": "rank", "type": "int", "value": value}})
    keys = server.api("projects.get_model_metadata_keys", project=place)
    assert keys == {"total": 1, "remaining": 0, "keys": ["rank"]}
    found = server.api("projects.get_model_metadata_values", projects=[place], key="rank")
    assert found == {"total": 2, "values": ["2", "10"]}
    refused(server, "projects.get_hyperparam_values", 11, section="x")


def test_documents_of_another_shape_do_no_harm(server: LocalServer) -> None:
    place = write(server, project, "Odd shapes")
    odd = {"text": "no JSON", "number": 5, "list": ["a"], "flat": {"a": "no JSON", "b": None}}
    write(server, task, project=place, hyperparams=odd, models={"input": ["no JSON", None], "output": "x"})
    write(server, model, project=place, metadata={"a": "no JSON", "b": 5})
    names = server.api("projects.get_hyper_parameters", project=place)["parameters"]
    assert names == [{"section": "flat", "name": "a"}, {"section": "flat", "name": "b"}]
    for name in ("a", "b"):
        where = {"projects": [place], "section": "flat", "name": name}
        assert server.api("projects.get_hyperparam_values", **where)["values"] == []
        assert server.api("projects.get_model_metadata_values", projects=[place], key=name)["values"] == []
    pattern = {"fields": ["models.input.model", "models.output.model"], "pattern": "x"}
    assert server.api("tasks.get_all", project=[place], _any_=pattern)["tasks"] == []
    assert len(server.api("tasks.get_all_ex", project=[place])["tasks"]) == 1


def test_tags_of_projects_tasks_and_models(server: LocalServer) -> None:
    top = write(server, project, "Tags", tags=["p"])
    below = write(server, project, "Tags/below", tags=["q"])
    write(server, task, project=below, tags=["b", "a"], system_tags=["development"])
    write(server, task, project=below, tags=["old"], system_tags=["archived"])
    write(server, model, project=top, tags=["m"])
    assert server.api("projects.get_project_tags", projects=[top]) == {"tags": ["p", "q"]}
    assert server.api("projects.get_task_tags", projects=[top]) == {"tags": ["a", "b", "old"]}
    active = {"system_tags": ["-archived"]}
    answer = server.api("projects.get_task_tags", projects=[top], include_system=True, filter=active)
    assert answer == {"tags": ["a", "b"], "system_tags": ["development"]}
    assert server.api("projects.get_model_tags", projects=[top]) == {"tags": ["m"]}
    assert "m" in server.api("projects.get_model_tags")["tags"]


def test_parents_and_owners_of_tasks(server: LocalServer) -> None:
    place = write(server, project, "Parents")
    parent = write(server, task, "the parent of some", project=place)
    orphan = write(server, task, "a parent without project")
    write(server, task, project=place, parent=parent)
    write(server, task, project=place, parent=orphan)
    write(server, task, project=place, parent=place, system_tags=["archived"])
    found = server.api("projects.get_task_parents", projects=[place])["parents"]
    assert found == [
        {"id": orphan, "name": "a parent without project"},
        {"id": parent, "name": "the parent of some", "project": {"id": place, "name": "Parents"}},
    ]
    assert server.api("projects.get_task_parents", projects=[place], tasks_state="archived")["parents"] == []
    named = server.api("projects.get_task_parents", projects=[place], task_name="OF SOME")["parents"]
    assert [each["id"] for each in named] == [parent]
    users = server.api("projects.get_user_names", projects=[place], entity="task")["users"]
    assert users == [{"id": "__tests__", "name": "Default User"}]
    assert server.api("projects.get_user_names", projects=[place], entity="model")["users"] == []
