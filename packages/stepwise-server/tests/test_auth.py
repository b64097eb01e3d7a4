"""Who gets in, with what, and who does not any more."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from stepwise_server import limits
from stepwise_server.auth import accounts
from stepwise_server.auth.browser import check_host
from stepwise_server.auth.published import PUBLISHED
from stepwise_server.errors import ApiError, ServerError
from stepwise_server.installation import Client, client_credentials, open_services, read_client, write_client
from stepwise_server.services import Settings
from stepwise_server.testing import ApiFailure, LocalServer


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refused(server: LocalServer, endpoint: str, headers: dict[str, str], **params: Any) -> tuple[int, int]:
    """Call an endpoint that is to fail, and return the codes."""
    with pytest.raises(ApiFailure) as failure:
        server.call(endpoint, params, headers)
    return failure.value.code, failure.value.subcode


def add_user(server: LocalServer, name: str, role: str = "user", **fields: Any) -> str:
    """Add a user who logs in with a password, and return the id."""
    known = accounts.known_role(role)
    assert known
    return server.services.database.write(lambda tx: accounts.add_user(tx, name, known, **fields))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalServer]:
    """A server of the test's own."""
    with LocalServer(tmp_path / "server") as running:
        yield running


def test_a_token_says_what_clients_read(server: LocalServer) -> None:
    token = server.login(*client_credentials(server.settings.folder))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["feature_set"] == "basic" and claims["identity"]["user"] == "__tests__"
    assert [int(part) for part in (claims["api_version"] + "." + claims["server_version"]).split(".")]
    assert claims["exp"] - claims["iat"] == pytest.approx(limits.TOKEN_SECONDS, abs=1)


@pytest.mark.parametrize(("asked", "granted"), [(60, 60), (1e12, limits.TOKEN_SECONDS_MAX), (-5, 1)])
def test_the_lifetime_can_be_asked_for(server: LocalServer, asked: float, granted: int) -> None:
    pair = client_credentials(server.settings.folder)
    token = server.call("auth.login", {"expiration_sec": asked}, basic(*pair))["token"]
    claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    assert claims["exp"] - claims["iat"] == pytest.approx(granted, abs=1)


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        ("Basic !!!", (401, 21)),
        ("Basic " + base64.b64encode(b"no colon").decode(), (401, 21)),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), (401, 21)),
        ("Basic " + base64.b64encode(b"unknown:x").decode(), (401, 22)),
        ("Digest x", (401, 10)),
        ("Bearer x", (401, 30)),
        ("Bearer", (401, 30)),
    ],
)
def test_what_is_no_login(server: LocalServer, header: str, codes: tuple[int, int]) -> None:
    assert refused(server, "auth.login", {"Authorization": header}) == codes


def test_forged_and_expired_tokens(server: LocalServer) -> None:
    token = server.login(*client_credentials(server.settings.folder))
    claims = jwt.decode(token, options={"verify_signature": False})
    secret = (server.settings.folder / "token.secret").read_bytes()
    forged = [
        jwt.encode(claims, b"another secret" * 4, algorithm="HS256"),
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode({**claims, "exp": time.time() - 1}, secret, algorithm="HS256"),
        jwt.encode({key: claims[key] for key in claims if key != "exp"}, secret, algorithm="HS256"),
        token[:-2],
    ]
    for each in forged:
        assert refused(server, "server.info", bearer(each)) == (401, 30)


def test_an_old_token_buys_a_new_one(server: LocalServer) -> None:
    token = server.login(*client_credentials(server.settings.folder))
    renewed = server.call("auth.login", {}, bearer(token))["token"]
    assert server.call("server.info", {}, bearer(renewed))["api_version"] == "2.34"


@pytest.mark.parametrize("key", sorted(PUBLISHED))
def test_published_pairs_are_refused(server: LocalServer, key: str, tmp_path: Path) -> None:
    def add(tx: Any) -> None:  # as if somebody had written it into the database
        tx.execute(
            "INSERT OR IGNORE INTO credentials (access_key, secret_hash, user, created) VALUES (?, ?, ?, '')",
            [key, accounts.secrets.hash_secret("the secret"), "__tests__"],
        )

    server.services.database.write(add)
    assert refused(server, "auth.login", basic(key, "the secret")) == (401, 22)
    with pytest.raises(ServerError, match="published"):
        server.services.database.write(
            lambda tx: accounts.add_user(tx, "x", "user", username=key, password="x")
        )
    write_client(tmp_path, Client(key, "the secret"))
    with pytest.raises(ServerError, match="published"), open_services(Settings(tmp_path)):
        pass


def test_the_pair_in_the_sdk_is_refused(server: LocalServer) -> None:
    key, secret = "EGRTCO8JMSIGI6S39GTP43NFWXDQOW", "x!XTov_G-#vspE*Y(h$Anm&DIc5Ou-F)jsl$PdOyj5wG1&E!Z8"
    assert refused(server, "auth.login", basic(key, secret)) == (401, 22)


def test_a_pair_prepared_beforehand_is_taken(tmp_path: Path) -> None:
    write_client(tmp_path, Client("PREPARED", "a secret"))
    with LocalServer(tmp_path) as server:
        assert server.login("PREPARED", "a secret")


def test_secrets_are_nowhere_in_the_database_and_private_on_disk(fresh: LocalServer) -> None:
    key = fresh.api("auth.create_credentials", label="second")["credentials"]
    client = read_client(fresh.settings.folder)
    stored = b"".join(file.read_bytes() for file in fresh.settings.folder.glob("server.sqlite*"))
    for secret in (client.secret_key, client.password, key["secret_key"]):
        assert secret.encode() not in stored
    for name in ("client.json", "token.secret", "server.sqlite", "server.sqlite-wal"):
        assert (fresh.settings.folder / name).stat().st_mode & 0o077 == 0, name
    assert fresh.settings.folder.stat().st_mode & 0o077 == 0


def test_people_log_in_with_a_password(fresh: LocalServer) -> None:
    client = read_client(fresh.settings.folder)
    token = fresh.login(client.username, client.password)
    assert fresh.call("users.get_current_user", {}, bearer(token))["user"]["id"] == "__tests__"
    assert fresh.call("login.supported_modes", {}, {})["basic"]["enabled"] is True
    assert refused(fresh, "auth.login", basic(client.username, "wrong")) == (401, 22)


def test_a_user_without_password_does_not_log_in(fresh: LocalServer) -> None:
    add_user(fresh, "Ann", username="ann")
    for password in ("", "None", "0" * 32):
        assert refused(fresh, "auth.login", basic("ann", password)) == (401, 22)


def test_guessing_has_to_wait(fresh: LocalServer) -> None:
    client = read_client(fresh.settings.folder)
    for _ in range(limits.FAILED_LOGINS):
        assert refused(fresh, "auth.login", basic(client.username, "guess")) == (401, 22)
    started = time.monotonic()
    with pytest.raises(ApiFailure, match="too many failed logins"):
        fresh.login(client.username, client.password)
    assert time.monotonic() - started < 0.5
    assert fresh.login(client.access_key, client.secret_key), "others still get in"


def test_a_key_lives_from_create_to_revoke(fresh: LocalServer) -> None:
    key = fresh.api("auth.create_credentials", label="laptop")["credentials"]
    assert len(key["access_key"]) == 30 and 50 <= len(key["secret_key"]) <= 70
    token = fresh.login(key["access_key"], key["secret_key"])
    assert fresh.api("auth.edit_credentials", access_key=key["access_key"], label="other") == {"updated": 1}
    fresh.services.database.write(lambda tx: None)  # the note of the use is written before
    listed = fresh.api("auth.get_credentials")["credentials"]
    mine = next(each for each in listed if each["access_key"] == key["access_key"])
    assert mine["label"] == "other" and mine["last_used"] and mine["last_used_from"]
    assert "secret_key" not in json.dumps(listed)
    assert fresh.call("server.info", {}, bearer(token))
    assert fresh.api("auth.revoke_credentials", access_key=key["access_key"]) == {"revoked": 1}
    assert refused(fresh, "server.info", bearer(token)) == (401, 31), "at once, although it was known"
    assert refused(fresh, "auth.login", basic(key["access_key"], key["secret_key"])) == (401, 22)


def test_another_users_keys_are_out_of_reach(fresh: LocalServer) -> None:
    add_user(fresh, "Ann", username="ann", password="ann's")
    ann = bearer(fresh.login("ann", "ann's"))
    own = fresh.call("auth.create_credentials", {"label": "hers"}, ann)["credentials"]["access_key"]
    admins, _ = client_credentials(fresh.settings.folder)
    listed = fresh.call("auth.get_credentials", {}, ann)["credentials"]
    assert [each["access_key"] for each in listed] == [own]
    assert refused(fresh, "auth.revoke_credentials", ann, access_key=admins) == (400, 300)
    assert refused(fresh, "auth.edit_credentials", ann, access_key=admins, label="x") == (400, 75)
    assert fresh.api("auth.revoke_credentials", access_key=own) == {"revoked": 1}, "an admin may"


def test_what_a_guest_may(fresh: LocalServer) -> None:
    add_user(fresh, "Guest", "guest", username="guest", password="guest")
    guest = bearer(fresh.login("guest", "guest"))
    assert fresh.call("users.get_current_user", {}, guest)["user"]["role"] == "guest"
    assert fresh.call("users.set_preferences", {"preferences": {"theme": "dark"}}, guest) == {"updated": 1}
    for endpoint in ("auth.create_credentials", "auth.create_user", "users.update", "users.delete"):
        assert refused(fresh, endpoint, guest, user="__tests__", name="x") == (403, 20)
    form = {**guest, "Content-Type": "multipart/form-data; boundary=b"}
    assert fresh.request("/files", b"--b--", form)[0] == 403
    assert fresh.request("/files/x", None, guest, "DELETE")[0] == 403
    assert fresh.request("/files/x", None, guest, "GET")[0] == 404


def test_only_admins_manage_others(fresh: LocalServer) -> None:
    user = add_user(fresh, "Ann", username="ann", password="ann's")
    ann = bearer(fresh.login("ann", "ann's"))
    for endpoint in ("auth.create_user", "auth.edit_user", "auth.get_token_for_user", "users.create"):
        assert refused(fresh, endpoint, ann, user=user, name="x", id="x" * 32) == (403, 20)
    for endpoint in ("server.config", "server.endpoints", "server.get_stats"):
        assert refused(fresh, endpoint, ann) == (403, 20)


def test_another_role_counts_at_once(fresh: LocalServer) -> None:
    user = add_user(fresh, "Ann", username="ann", password="ann's")
    ann = bearer(fresh.login("ann", "ann's"))
    assert fresh.call("auth.create_credentials", {}, ann)
    answer = fresh.api("auth.edit_user", user=user, role="guest")
    assert answer == {"updated": 1, "fields": {"role": "guest"}}
    assert refused(fresh, "auth.create_credentials", ann) == (403, 20)
    assert refused(fresh, "auth.edit_user", ann, user=user, role="admin") == (403, 20)
    fresh.api("users.delete", user=user)
    assert refused(fresh, "server.info", ann) == (401, 31)


def test_the_last_admin_stays(fresh: LocalServer) -> None:
    with pytest.raises(ApiFailure, match="last admin"):
        fresh.api("users.delete", user="__tests__")
    with pytest.raises(ApiFailure, match="last admin"):
        fresh.api("auth.edit_user", user="__tests__", role="guest")


@pytest.mark.parametrize("header", ["X-Clearml-Impersonate-As", "X-Trains-Act-As"])
def test_an_admin_calls_as_another(fresh: LocalServer, header: str) -> None:
    user = add_user(fresh, "Ann", username="ann", password="ann's")
    admin = bearer(fresh.login(*client_credentials(fresh.settings.folder)))
    answer = fresh.call("users.get_current_user", {}, {**admin, header: user})
    assert answer["user"]["name"] == "Ann"
    token = fresh.call("auth.login", {}, {**admin, header: user})["token"]
    assert fresh.call("users.get_current_user", {}, bearer(token))["user"]["id"] == user
    assert refused(fresh, "users.get_current_user", {**bearer(token), header: "__tests__"}) == (400, 6)
    assert refused(fresh, "users.get_current_user", {**admin, header: "nobody"}) == (400, 6)
    both = {**admin, "X-Clearml-Impersonate-As": user, "X-Clearml-Act-As": user}
    assert refused(fresh, "users.get_current_user", both) == (400, 5)


def test_tokens_for_others_and_their_check(fresh: LocalServer) -> None:
    user = add_user(fresh, "Ann")
    token = fresh.api("auth.get_token_for_user", user=user)["token"]
    valid = fresh.api("auth.validate_token", token=token)
    assert (valid["valid"], valid["user"]) == (True, user)
    fresh.api("users.delete", user=user)
    assert fresh.api("auth.validate_token", token=token)["valid"] is False
    assert fresh.api("auth.validate_token", token="x")["valid"] is False


def cookie_of(server: LocalServer) -> dict[str, str]:
    token = server.login(*client_credentials(server.settings.folder))
    return {"Cookie": f"other=1; clearml_token_basic={token}", "Host": f"localhost:{server.port}"}


def status(server: LocalServer, method: str, endpoint: str, headers: dict[str, str]) -> int:
    return server.request(f"/api/v999.0/{endpoint}", b"{}", headers, method)[0]


def test_login_sets_a_cookie_that_only_http_sees(server: LocalServer) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    pair = client_credentials(server.settings.folder)
    connection.request("POST", "/api/auth.login", headers=basic(*pair))
    cookie = connection.getresponse().headers["Set-Cookie"].lower()
    connection.close()
    assert cookie.startswith("clearml_token_basic=")
    for part in ("httponly", "samesite=lax", "path=/", "max-age="):
        assert part in cookie
    assert "domain" not in cookie


def test_with_the_cookie_a_change_is_post(server: LocalServer) -> None:
    cookie = cookie_of(server)
    assert status(server, "GET", "users.get_current_user", cookie) == 200
    assert status(server, "GET", "auth.create_credentials", cookie) == 403, "a link on a foreign page"
    assert status(server, "PUT", "auth.create_credentials", cookie) == 403
    assert status(server, "POST", "auth.create_credentials", cookie) == 200
    with_token = server.login(*client_credentials(server.settings.folder))
    assert status(server, "GET", "auth.create_credentials", {**cookie, **bearer(with_token)}) == 200


def test_with_the_cookie_a_change_comes_from_a_page_of_this_host(server: LocalServer) -> None:
    cookie = cookie_of(server)
    for origin, expected in [
        (f"http://localhost:{server.port}", 200),
        ("http://localhost:8080", 200),  # the official web app on its own port
        ("http://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ]:
        headers = {**cookie, "Origin": origin}
        assert status(server, "POST", "auth.create_credentials", headers) == expected, origin


def test_a_name_that_was_bound_to_us_is_refused(server: LocalServer) -> None:
    rebound = {**cookie_of(server), "Host": f"evil.example:{server.port}"}
    assert status(server, "POST", "users.get_current_user", rebound) == 403
    token = server.login(*client_credentials(server.settings.folder))
    assert status(server, "POST", "users.get_current_user", {**rebound, **bearer(token)}) == 200, "no cookie"


@pytest.mark.parametrize("host", ["ml.example", "ml.example:443", "LOCALHOST", "127.0.0.1:1", "[::1]:8008"])
def test_our_names_are_those_of_this_machine_and_the_url(host: str) -> None:
    check_host({"host": host}, Settings(Path(), url="https://ml.example"))


@pytest.mark.parametrize("host", ["", "ml.example.evil", "[", "evil.example:8008"])
def test_other_names_are_not_ours(host: str) -> None:
    with pytest.raises(ApiError, match="unknown host"):
        check_host({"host": host}, Settings(Path(), url="https://ml.example"))
    check_host({"host": host}, Settings(Path(), host="0.0.0.0"))  # there, any name may lead to us


@pytest.mark.parametrize("endpoint", ["auth.logout", "login.logout"])
def test_logout_takes_the_token_back(server: LocalServer, endpoint: str) -> None:
    cookie = cookie_of(server)
    assert status(server, "POST", "users.get_current_user", cookie) == 200
    assert status(server, "POST", endpoint, cookie) == 200
    assert status(server, "POST", "users.get_current_user", cookie) == 401
    assert status(server, "POST", endpoint, cookie) == 200, "again does no harm"
    assert status(server, "POST", "login.supported_modes", cookie) == 200


def test_everything_but_the_door_needs_a_login(server: LocalServer) -> None:
    for each in server.api("server.endpoints")["endpoints"]:
        code = server.request(f"/api/v999.0/{each['name']}", b"{}")[0]
        public = (
            "debug.ping",
            "login.supported_modes",
            "auth.fixed_users_mode",
            "login.logout",
            "auth.logout",
        )
        assert code == (200 if each["name"] in public else 401), each["name"]


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (None, "/files/pic.png", 200),
        ("localhost", "/files/pic.png", 200),
        ("evil.example", "/files/pic.png", 403),
        (None, "/api/auth.login", 401),
    ],
)
def test_open_reads(tmp_path: Path, host: str | None, path: str, expected: int) -> None:
    with LocalServer(tmp_path, open_reads=True) as server:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        body = b'--b\r\nContent-Disposition: form-data; name="pic.png"\r\n\r\nx\r\n--b--\r\n'
        assert server.request("/files", body, headers)[0] == 401, "only reads"
        token = server.login(*client_credentials(tmp_path))
        assert server.request("/files", body, {**headers, **bearer(token)})[0] == 200
        given = {"Host": f"{host}:{server.port}"} if host else {}
        assert server.request(path, None, given, "GET")[0] == expected
