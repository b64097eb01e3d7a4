"""URLs, verbs, bodies and envelopes."""

import json

import pytest

from stepwise_server.testing import ApiFailure, LocalServer


@pytest.mark.parametrize(
    "path", ["/debug.ping", "/v2.23/debug.ping", "/api/v999.0/debug.ping/", "/api/debug.ping"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_every_form_of_url_and_verb(server: LocalServer, path: str, method: str) -> None:
    status, body = server.request(path, b'{"method":"get"}', method=method)
    meta = json.loads(body)["meta"]
    assert status == meta["result_code"] == 200
    assert isinstance(meta["endpoint"]["requested_version"], str)


def test_an_unknown_endpoint_is_404_in_the_envelope(server: LocalServer) -> None:
    with pytest.raises(ApiFailure) as failure:
        server.api("workers.get_runtime_properties", worker="w")
    assert (failure.value.code, failure.value.subcode) == (404, 0)


def test_what_is_no_json_is_400(server: LocalServer) -> None:
    status, body = server.request("/debug.ping", b"{")
    assert status == json.loads(body)["meta"]["result_code"] == 400


def test_without_credentials_401(server: LocalServer) -> None:
    status, body = server.request("/auth.login")
    assert (status, json.loads(body)["meta"]["result_subcode"]) == (401, 20)
