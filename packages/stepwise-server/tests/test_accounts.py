"""users.* and server.*: who the caller is, preferences, what the server says of itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwise_server.testing import ApiFailure, LocalServer


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalServer]:
    """A server of the test's own."""
    with LocalServer(tmp_path / "server") as running:
        yield running


def test_the_current_user(server: LocalServer) -> None:
    answer = server.api("users.get_current_user", get_supported_features=True)
    assert answer["user"]["id"] == "__tests__"
    assert answer["user"]["company"]["name"] == "clearml"
    assert set(answer["getting_started"]) == {"agentName", "configure", "install", "packageName"}
    assert answer["settings"]["max_download_items"] > 0
    assert not {"password_hash", "username", "preferences"} & set(answer["user"])


def test_preferences_are_stored_by_dotted_path(fresh: LocalServer) -> None:
    assert fresh.api("users.get_preferences") == {"preferences": {}}
    fresh.api("users.set_preferences", preferences={"a.b.c": 1, "a.b--DOT--d": [1, {"x": None}]})
    answer = fresh.api("users.set_preferences", preferences={"a.b.e": 2, "f": True}, return_updated=True)
    expected = {"a": {"b": {"c": 1, "e": 2}, "b--DOT--d": [1, {"x": None}]}, "f": True}
    assert answer["fields"]["preferences"] == expected
    assert fresh.api("users.get_preferences") == {"preferences": expected}
    fresh.api("users.set_preferences", preferences={"f.g": 1})
    assert fresh.api("users.get_preferences")["preferences"]["f"] == {"g": 1}


@pytest.mark.parametrize("path", ["$set", "a.$b", "", "a..b"])
def test_bad_keys_of_preferences(server: LocalServer, path: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("users.set_preferences", preferences={path: 1})
    assert (failure.value.code, failure.value.subcode) == (400, 302)


def test_preferences_have_a_limit(server: LocalServer) -> None:
    with pytest.raises(ApiFailure, match="too large"):
        server.api("users.set_preferences", preferences={"a": "x" * 1_100_000})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_preferences_are_kept_or_refused(server: LocalServer, preferences: dict[str, object]) -> None:
    try:
        server.api("users.set_preferences", preferences=preferences)
    except ApiFailure as failure:
        assert failure.code == 400
    assert isinstance(server.api("users.get_preferences")["preferences"], dict)


def test_profile(fresh: LocalServer) -> None:
    answer = fresh.api("users.update", user="__tests__", name="Ann", avatar="x", role="guest")
    assert answer == {"updated": 1, "fields": {"name": "Ann", "avatar": "x"}}
    assert fresh.api("users.get_current_user")["user"]["name"] == "Ann"
    assert fresh.api("users.update", user="__tests__") == {"updated": 0, "fields": {}}
    with pytest.raises(ApiFailure) as failure:
        fresh.api("users.update", user="nobody", name="x")
    assert (failure.value.code, failure.value.subcode) == (400, 301)


def test_users_are_created_and_deleted(fresh: LocalServer) -> None:
    user = "0123456789abcdef" * 2
    assert fresh.api("users.create", id=user, name="Bob", role="guest") == {}
    with pytest.raises(ApiFailure, match="exists"):
        fresh.api("users.create", id=user, name="Bob")
    with pytest.raises(ApiFailure, match="no such role"):
        fresh.api("auth.create_user", name="Eve", role="system")
    other = fresh.api("auth.create_user", name="Eve", email="eve@test.ai")["id"]
    assert len(other) == 32
    for each in (user, other):
        assert fresh.api("users.delete", user=each) == {}
    with pytest.raises(ApiFailure) as failure:
        fresh.api("users.delete", user=user)
    assert failure.value.subcode == 301


def test_what_the_server_says_of_itself(server: LocalServer) -> None:
    info = server.api("server.info")
    assert all(isinstance(value, str) and value for value in info.values())
    assert {"version", "build", "commit", "uid", "api_version"} <= set(info)
    assert server.api("server.report_stats_option", enabled=True)["supported"] is False
    assert server.api("server.config")["port"] == server.port
    assert {"name": "auth.login", "min_version": "1.0"} in server.api("server.endpoints")["endpoints"]
    assert server.api("server.get_stats")["users"] >= 1


OURS = [
    *("auth.login", "auth.get_credentials", "auth.create_credentials", "auth.edit_credentials"),
    *("auth.revoke_credentials", "auth.create_user", "auth.edit_user", "auth.validate_token"),
    *("auth.get_token_for_user", "auth.fixed_users_mode", "login.supported_modes", "login.logout"),
    *("users.get_current_user", "users.get_preferences", "users.set_preferences", "users.update"),
    *("users.create", "users.delete", "server.info", "server.report_stats_option", "server.config"),
]
NAMES = ["access_key", "avatar", "company", "expiration_sec", "id", "label", "name", "preferences", "role"]
PARAMETERS = st.dictionaries(
    st.sampled_from([*NAMES, "token", "user", "return_updated", "given_name", "email"]),
    JSON | st.sampled_from(["__tests__", "admin", "guest", "\0", "x" * 5000, 1e308, -1, {"a.b": {"$c": 1}}]),
    max_size=5,
)


@given(endpoint=st.sampled_from(OURS), params=PARAMETERS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_parameters_make_it_fail(server: LocalServer, endpoint: str, params: dict[str, object]) -> None:
    try:
        server.api(endpoint, **params)
    except ApiFailure as failure:
        assert 400 <= failure.code < 500, f"{endpoint} {params}: {failure}"
