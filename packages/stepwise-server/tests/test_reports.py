"""The reports service."""

from typing import Any

import pytest
from task_tools import stored

from stepwise_server.testing import ApiFailure, LocalServer


def new_report(server: LocalServer, **fields: Any) -> dict[str, str]:
    made: dict[str, str] = server.api("reports.create", **{"name": "a report", **fields})
    return made


def test_a_report_lies_in_the_hidden_folder_of_its_project(server: LocalServer) -> None:
    project = server.api("projects.create", name="with reports")["id"]
    given = {"tags": ["x"], "comment": "c", "report": "# text", "report_assets": ["http://there"]}
    made = new_report(server, project=project, **given)
    report = stored(server, made["id"])
    assert {name: report[name] for name in given} == given
    assert (report["type"], report["project"]) == ("report", made["project_id"])
    folder = server.api("projects.get_by_id", project=made["project_id"])["project"]
    assert (folder["name"], folder["system_tags"]) == ("with reports/.reports", ["hidden", "reports"])
    assert new_report(server, project=made["project_id"])["project_id"] == made["project_id"]
    assert new_report(server)["project_id"] != made["project_id"]


def test_reports_are_in_their_own_lists_only(server: LocalServer) -> None:
    report = new_report(server, name="to be listed", tags=["listed"])["id"]
    found = server.api("reports.get_all_ex", size=6, scroll_id=None, name="listed", only_fields=["name"])
    assert [each["id"] for each in found["tasks"]] == [report] and found["scroll_id"]
    assert server.api("tasks.get_all", name="to be listed")["tasks"] == []
    assert "listed" in server.api("reports.get_tags")["tags"]


def test_update(server: LocalServer) -> None:
    report = new_report(server)["id"]
    answer = server.api("reports.update", task=report, report="# new", tags=["b", "a"], name=" another ")
    after = stored(server, report)
    assert answer["fields"]["tags"] == after["tags"] == ["a", "b"]
    assert (after["report"], after["name"]) == ("# new", "another")
    assert server.api("reports.update", task=report)["updated"] == 0


def test_life(server: LocalServer) -> None:
    report = new_report(server)["id"]
    assert server.api("reports.archive", task=report)["archived"] == 1
    assert "archived" in stored(server, report)["system_tags"]
    assert server.api("reports.unarchive", task=report)["unarchived"] == 1
    assert server.api("reports.publish", task=report)["fields"]["status"] == "published"
    moved = server.api("reports.move", task=report, project_name="moved reports")["project_id"]
    assert server.api("projects.get_by_id", project=moved)["project"]["name"] == "moved reports/.reports"
    assert stored(server, report)["project"] == moved
    assert server.api("reports.delete", task=report, force=True)["deleted"] is True
    with pytest.raises(ApiFailure):
        stored(server, report)


@pytest.mark.parametrize("action", ["update", "move", "publish", "archive", "unarchive", "delete", "share"])
def test_other_tasks_are_no_reports(server: LocalServer, action: str) -> None:
    task = server.api("tasks.create", name="no report", type="training")["id"]
    with pytest.raises(ApiFailure) as failure:
        server.api(f"reports.{action}", task=task)
    assert (failure.value.code, failure.value.subcode) == (400, 150)


def test_what_reports_show_of_tasks(server: LocalServer) -> None:
    tasks = [server.api("tasks.create", name=f"shown {n}", type="training")["id"] for n in range(2)]
    for task in tasks:
        event = {"task": task, "type": "training_stats_scalar", "metric": "loss", "variant": "train"}
        server.events(*({**event, "iter": n, "value": n} for n in range(3)))
    answer = server.api(
        "reports.get_task_data",
        id=tasks,
        only_fields=["name"],
        scalar_metrics_iter_histogram={"samples": 100},
        single_value_metrics={},
    )
    assert {each["id"] for each in answer["tasks"]} == set(tasks)
    curves = answer["scalar_metrics_iter_histogram"]["metrics"]["loss"]["train"]
    assert curves[tasks[0]]["y"] == [0.0, 1.0, 2.0] and answer["single_value_metrics"] == {"tasks": []}
