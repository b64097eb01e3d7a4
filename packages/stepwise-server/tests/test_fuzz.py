"""Nothing that a client sends makes the server fail: every endpoint, with every kind of nonsense."""

import importlib
import inspect
import json
from functools import cache
from typing import Any

import pytest
from clearml.backend_api.session.request import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwise_server.api import registry
from stepwise_server.testing import LocalServer

registry.load_services()
ENDPOINTS = sorted({each.name for each in registry.endpoints()})
SERVICES = ["auth", "events", "models", "organization", "pipelines", "projects", "queues", "tasks", "workers"]
WORDS = [
    "id",
    "task",
    "tasks",
    "name",
    "ids",
    "metrics",
    "only_fields",
    "order_by",
    "scroll_id",
    "page",
    "size",
]
ODD = [
    "__$not",
    "__$all",
    "-archived",
    "../../etc/passwd",
    "a.b",
    "$",
    "%",
    "\x00",
    "\ud800",
    "__tests__",
    "(",
    "0",
]


@cache
def parameters(endpoint: str) -> list[str]:
    """Return the parameters that the SDK knows of an endpoint."""
    service, action = endpoint.split(".")
    if service not in SERVICES:
        return WORDS
    module = importlib.import_module(f"clearml.backend_api.services.v2_23.{service}")
    for _, each in inspect.getmembers(module, inspect.isclass):
        if issubclass(each, Request) and getattr(each, "_action", "") == action:
            schema: dict[str, Any] = getattr(each, "_schema", None) or {}
            return [*schema.get("properties", {}), *WORDS]
    return WORDS


def values(known: list[str]) -> st.SearchStrategy[Any]:
    """Return JSON values of every shape, ids that exist among them."""
    texts = st.one_of(st.sampled_from([*known, *ODD]), st.text(max_size=30))
    numbers = st.one_of(st.integers(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
    leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.one_of(texts, st.sampled_from(WORDS)), inner, max_size=3),
        ),
        max_leaves=8,
    )


def put_things_in(server: LocalServer) -> list[str]:
    """Make one of each entity, and return their ids."""
    project = server.api("projects.create", name="fuzz/deep")["id"]
    task = server.api("tasks.create", name="fuzz", type="training", project=project)["id"]
    model = server.api("models.create", name="fuzz", uri="file:///x", ready=False, task=task)["id"]
    queue = server.api("queues.create", name="fuzz queue")["id"]
    server.events({"task": task, "type": "training_stats_scalar", "metric": "m", "variant": "v", "value": 1})
    return [project, task, model, queue]


def send(server: LocalServer, endpoint: str, body: bytes, headers: dict[str, str]) -> None:
    status, answer = server.request(f"/api/{endpoint}", body, headers)
    assert status < 500, (endpoint, body[:500], answer[:500])
    assert b"Traceback" not in answer
    assert answer[:8] != b'{"meta":' or json.loads(answer)["meta"]["result_code"] == status


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_endpoint_fails_on_any_parameters(server: LocalServer, endpoint: str) -> None:
    known = put_things_in_once(server)

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(parameters(endpoint)), values(known), max_size=4))
    def fuzz(params: dict[str, Any]) -> None:
        send(server, endpoint, json.dumps(params).encode(), token_for(server))

    fuzz()


_things: dict[int, list[str]] = {}


def put_things_in_once(server: LocalServer) -> list[str]:
    if id(server) not in _things:
        _things[id(server)] = put_things_in(server)
    return _things[id(server)]


def token_for(server: LocalServer) -> dict[str, str]:
    """Return the header of an admin, who may have lost rights by what was sent before."""

    def restore(tx: Any) -> None:
        tx.execute("UPDATE users SET role = 'admin' WHERE id = '__tests__'")
        tx.execute("DELETE FROM revoked_tokens")

    server.services.database.write(restore)
    server.services.authenticator.forget()
    from stepwise_server.auth.identity import Identity

    token = server.services.authenticator.issue(Identity("__tests__", "Default User", "admin"))
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"name": "' + b"x" * 5_000_000 + b'"}',
        b'{"name": NaN}',
        b'"text"',
        b"[1, 2]",
        b"{} {}",
        b'{"task": "\\ud800"}',
        b'{"iter": 1' + b"0" * 400 + b"}",
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    "endpoint", ["tasks.create", "tasks.get_all_ex", "events.add_batch", "projects.create", "auth.login"]
)
def test_bodies_that_are_no_parameters(server: LocalServer, endpoint: str, body: bytes) -> None:
    send(server, endpoint, body, token_for(server))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), max_size=60))
def test_no_forged_authorization_is_accepted(server: LocalServer, text: str) -> None:
    for header in (text, f"Bearer {text}", f"Basic {text}"):
        status, answer = server.request("/api/tasks.get_all", b"{}", {"Authorization": header.strip()})
        assert status == 401 or answer.startswith(b"Invalid HTTP"), answer


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60))
def test_no_path_fails(server: LocalServer, path: str) -> None:
    from urllib.parse import quote

    status, answer = server.request("/" + quote(path, safe="/?%&=."), b"{}", token_for(server))
    assert status < 500, answer
