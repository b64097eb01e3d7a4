"""Whether each tracker can be reached, and knows us: what `stepwise track doctor` asks. No SDK is loaded before."""

import netrc
import os
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from stepwise_track.backends.protocol import Rejected, Unreachable

PROBE_S = 5.0
"""Seconds that a server gets to give any answer."""


class NotConfigured(Exception):
    """Nobody has set this tracker up here. The text says how it is done."""


def _clearml() -> str:
    """Log in to the ClearML server of the user's configuration."""
    from stepwise_track.backends.clearml import offline

    if offline.wanted({}):
        return "offline sessions"
    from clearml.backend_api import Session

    from stepwise_track.backends.clearml.connection import Connection

    Connection().call("users.get_current_user")
    return f"server {Session.server_version} (API {Session.api_version}) at {Session.get_api_server_host()}"


def _wandb() -> str:
    """Ask the W&B server who we are."""
    from stepwise_track.backends.wandb.backend import wandb_mode

    try:
        mode = wandb_mode()
    except Rejected as wish:  # the user does not want it
        raise NotConfigured(str(wish)) from None
    if mode == "offline":
        return "offline folders"
    host = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    if not (os.environ.get("WANDB_API_KEY") or _has_netrc(urlsplit(host).hostname or "")):
        raise NotConfigured("wandb login, or WANDB_MODE=offline")
    _probe(host)
    from wandb import Api

    try:
        viewer = Api(timeout=10).viewer
    except Exception as error:  # its SDK raises what its libraries raise
        raise Rejected(f"{host} refuses the API key: {' '.join(str(error).split())[:200]}") from None
    return f"user {viewer.username} at {host}"


def _has_netrc(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _mlflow() -> str:
    """Open the MLflow store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return "mlflow.db beside the runs (MLFLOW_TRACKING_URI names another store)"
    parts = urlsplit(uri)
    shown = uri.replace(f"{parts.netloc.rpartition('@')[0]}@", "") if "@" in parts.netloc else uri
    if parts.scheme in ("http", "https"):
        _probe(shown)
    from stepwise_track.backends.mlflow.store import Store

    Store(Path.cwd())
    return f"store {shown}"


def _probe(url: str) -> None:
    """Ask for any answer within a bounded time: an SDK itself may wait much longer.

    Raises:
        Unreachable: if there is none, or one that says the server is broken.
    """
    try:
        urlopen(url, timeout=PROBE_S).close()
    except HTTPError as error:
        if error.code >= 500:
            raise Unreachable(f"{url} answers {error.code}") from None
    except (URLError, OSError, ValueError) as error:
        raise Unreachable(f"no answer from {url}: {getattr(error, 'reason', error)}") from None


CHECKS: dict[str, Callable[[], str]] = {"clearml": _clearml, "wandb": _wandb, "mlflow": _mlflow}
"""What opens each tracker as its backend does, and says in words where it is; others need no server.

They raise `NotConfigured`, `Unreachable` or `Rejected`.
"""
