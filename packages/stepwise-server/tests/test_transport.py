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


def test_clients_that_go_away_do_no_harm(server: LocalServer) -> None:
    import socket

    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /debug.ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /login.logout HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    assert server.request("/healthz", method="GET") == (200, b"OK")


def test_work_that_is_given_up_does_not_stop_the_writer(server: LocalServer) -> None:
    import threading

    go = threading.Event()
    database = server.services.database
    first = database.submit(lambda tx: go.wait(10))
    given_up = [database.submit(lambda tx: None) for _ in range(10)]
    assert all(future.cancel() for future in given_up)
    go.set()
    assert first.result(10)
    assert database.write(lambda tx: "served") == "served"
