"""server.*, debug.ping: what this server is and how much it holds."""

from typing import Any

from stepwise_server import __version__
from stepwise_server.api.call import Call
from stepwise_server.api.registry import API_VERSION, endpoint, endpoints
from stepwise_server.auth.tokens import SERVER_VERSION
from stepwise_server.store.database import Transaction

COUNTED = ("tasks", "models", "projects", "queues", "users", "files")


@endpoint("debug.ping", role=None)
def ping(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """Answer that the server is there."""
    return {"msg": "ClearML server"}


@endpoint("server.info")
def info(tx: Transaction, _call: Call) -> dict[str, Any]:
    """Answer which version's behaviour is served, by which build, and which installation this is."""
    uid = tx.value("SELECT value FROM settings WHERE name = 'uid'") or ""
    build = f"stepwise-{__version__}"
    return {
        "version": SERVER_VERSION,
        "build": build,
        "commit": build,
        "uid": uid,
        "api_version": API_VERSION,
    }


@endpoint("server.report_stats_option", role="guest")
def report_stats_option(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """Answer that usage is never reported to anybody."""
    return {"supported": False, "enabled": False}


@endpoint("server.config", role="admin")
def config(_tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer how the server was started."""
    settings = call.services.settings
    return {"url": settings.url, "host": settings.host, "port": settings.port}


@endpoint("server.endpoints", role="admin")
def list_endpoints(_tx: Transaction, _call: Call) -> dict[str, Any]:
    """List what can be called."""
    found = [{"name": each.name, "min_version": "{}.{}".format(*each.version)} for each in endpoints()]
    return {"endpoints": found}


@endpoint("server.get_stats", role="admin")
def get_stats(tx: Transaction, _call: Call) -> dict[str, Any]:
    """Count what is stored."""
    return {name: tx.value(f"SELECT count(*) FROM {name}") for name in COUNTED}
