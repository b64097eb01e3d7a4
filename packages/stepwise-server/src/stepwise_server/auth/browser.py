"""What is asked of calls that a browser may have been talked into by another site's page.

A token in the `Authorization` header was put there by a program that has it. The login cookie is sent by the
browser on its own, so a call with the cookie alone must look like one from our page.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from stepwise_server.errors import ApiError
from stepwise_server.services import LOOPBACK, Settings


def check_host(headers: Mapping[str, str], settings: Settings) -> None:
    """Refuse a name that is not ours, if only this machine can reach us: another site may have bound its own to it.

    Raises:
        ApiError: 403/20.
    """
    ours = {host.rpartition(":")[0] for host in settings.hosts}
    if settings.host in LOOPBACK and _name("//" + headers.get("host", "")) not in ours:
        raise ApiError(403, 20, "Forbidden (unknown host; is --url set?)", host=headers.get("host", ""))


def check_cookie_call(method: str, headers: Mapping[str, str], settings: Settings, *, writes: bool) -> None:
    """Check a call that is authenticated by its cookie; any other is let through.

    SameSite=Lax keeps the cookie from all that other sites send but links, which are GET. Other ports of one
    host are the same site, hence the look at `Origin`.

    Raises:
        ApiError: 403/20 if it changes something and is not POST, or comes from a page of another host.
    """
    if "authorization" in headers:
        return
    check_host(headers, settings)
    if not writes:
        return
    if method not in ("POST", "DELETE"):
        raise ApiError(403, 20, "Forbidden (with the login cookie, a call that changes something is POST)")
    origin = headers.get("origin")
    if origin is not None and _name(origin) != _name("//" + headers.get("host", "")):
        raise ApiError(403, 20, "Forbidden (a page of another site)", origin=origin)


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
