"""The organization service: tags, counts, usage, tables as CSV."""

import csv
import io
import time
from typing import Any

import pytest
from query_tools import model, project, task, write

from stepwise_server import limits
from stepwise_server.api.downloads import Downloads
from stepwise_server.store.entities import COMPANY
from stepwise_server.testing import ApiFailure, LocalServer


@pytest.fixture(scope="module", autouse=True)
def contents(server: LocalServer) -> str:
    """A project with a task, a model, a dataset and a pipeline run."""
    place = write(server, project, "Everything")
    write(
        server,
        task,
        "first, with a comma",
        project=place,
        tags=["t", "both"],
        active_duration=7,
        comment="=1+1",
    )
    write(server, task, "second", project=place, user="someone", system_tags=["archived"])
    write(server, model, project=place, tags=["both", "m"])
    data = write(server, project, "Everything/.datasets/d", system_tags=["hidden", "dataset"])
    write(server, task, "d", project=data, type="data_processing", system_tags=["dataset"])
    write(server, task, "run", project=place, type="controller", system_tags=["pipeline"])
    return place


def test_tags_of_tasks_and_models_together(server: LocalServer) -> None:
    assert server.api("organization.get_tags")["tags"] == ["both", "m", "t"]
    answer = server.api("organization.get_tags", include_system=True, filter={"system_tags": ["archived"]})
    assert answer == {"tags": [], "system_tags": ["archived"]}


def test_the_one_company(server: LocalServer) -> None:
    [company] = server.api("organization.get_user_companies")["companies"]
    assert company["id"] == COMPANY
    assert company["owners"] == [{"id": "__tests__", "name": "Default User"}]


def test_counts_of_several_queries_at_once(server: LocalServer) -> None:
    pattern = {"_any_": {"fields": ["name"], "pattern": "FIRST|SECOND"}}
    counts = server.api(
        "organization.get_entities_count",
        tasks=pattern,
        projects={},
        models={},
        datasets={},
        dataset_versions={},
        pipeline_runs={},
        reports={},
    )
    assert counts == {
        **{"tasks": 2, "projects": 2, "models": 1, "datasets": 1},
        **{"dataset_versions": 1, "pipeline_runs": 1, "reports": 0},
    }
    mine = server.api("organization.get_entities_count", tasks=pattern, active_users=["someone"])
    assert mine == {"tasks": 1}
    assert server.api("organization.get_entities_count", tasks=pattern, limit=1) == {"tasks": 1}
    assert server.api("organization.get_entities_count") == {}


def test_usage_of_projects(server: LocalServer, contents: str) -> None:
    usage = {each["id"]: each for each in server.api("organization.get_project_usages")["projects"]}
    assert usage[contents] == {
        **{"id": contents, "name": "Everything", "tasks": 3, "total_runtime": 7, "models": 1}
    }


def fetch(server: LocalServer, prepare_id: str) -> tuple[int, str]:
    token = server._token
    status, body = server.request(
        f"/api/organization.download_for_get_all?prepare_id={prepare_id}",
        headers={"Authorization": f"Bearer {token}"},
        method="GET",
    )
    return status, body.decode()


def test_a_table_as_csv(server: LocalServer, contents: str) -> None:
    columns: list[dict[str, Any]] = [
        {"field": "name", "name": "Name"},
        {"field": "project.name", "name": "Project"},
        {"field": "status", "name": "Status", "values": [{"key": "created", "value": "Draft"}]},
        {"field": "tags"},
        {"field": "comment", "name": "Comment"},
    ]
    prepared = server.api(
        "organization.prepare_download_for_get_all",
        entity_type="task",
        field_mappings=columns,
        project=[contents],
        system_tags=["-archived"],
        order_by=["name"],
    )
    status, text = fetch(server, prepared["prepare_id"])
    assert status == 200
    assert text.startswith("\ufeff")
    assert list(csv.reader(io.StringIO(text[1:]))) == [
        ["Name", "Project", "Status", "tags", "Comment"],
        ["first, with a comma", "Everything", "Draft", "both, t", "'=1+1"],
        ["run", "Everything", "Draft", "", ""],
    ]


def test_a_table_of_more_than_one_page(server: LocalServer) -> None:
    def fill(tx: Any) -> None:
        for number in range(limits.PAGE_ROWS + 1):
            task(tx, f"row {number}")

    server.services.database.write(fill)
    prepared = server.api(
        "organization.prepare_download_for_get_all",
        entity_type="tasks",
        field_mappings=[{"field": "name"}],
        name="^row",
    )
    assert len(fetch(server, prepared["prepare_id"])[1].splitlines()) == limits.PAGE_ROWS + 2


@pytest.mark.parametrize(
    "params",
    [
        {"entity_type": "task"},
        {"entity_type": "user", "field_mappings": [{"field": "name"}]},
        {"entity_type": "task", "field_mappings": [{"field": 5}]},
        {"entity_type": "task", "field_mappings": [{"field": "name"}], "name": 5},
    ],
)
def test_what_cannot_be_downloaded_is_said_at_once(server: LocalServer, params: dict[str, Any]) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("organization.prepare_download_for_get_all", **params)
    assert (failure.value.code, failure.value.subcode) == (400, 12)


def test_prepared_downloads_belong_to_their_user_and_expire(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(server, "unknown")[0] == 400
    columns = [{"field": "name"}]
    prepared = server.api(
        "organization.prepare_download_for_get_all", entity_type="task", field_mappings=columns
    )
    downloads = server.services.state["downloads"]
    assert isinstance(downloads, Downloads)
    with pytest.raises(Exception, match="no download"):
        downloads.find(prepared["prepare_id"], "another user")
    later = time.monotonic() + limits.SCROLL_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(Exception, match="no download"):
        downloads.find(prepared["prepare_id"], "__tests__")
