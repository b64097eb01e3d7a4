"""Which trackers a run is sent to, and where the ClearML of this machine is."""

import json
import os
from pathlib import Path

from stepwise_server.ops.clients import variables
from stepwise_server.ops.folder import Running, default_folder, find_running

NONE = "none"
"""The name that means no tracker at all."""


def chosen_trackers(configured: list[str] | None) -> list[str]:
    """Return the trackers of a run, and tell their SDKs about the server of this machine.

    Args:
        configured: `logging.backends`, or `--track`. None leaves it to `STEPWISE_BACKENDS`; without that it is
            ClearML if a server runs here or the user has one configured, else none.
    """
    if configured is None and "STEPWISE_BACKENDS" in os.environ:
        configured = os.environ["STEPWISE_BACKENDS"].split(",")
    if configured is None:
        configured = ["clearml"] if clearml_is_configured() or local_server() else []
    names = [name.strip() for name in configured if name.strip() not in ("", NONE)]
    if "clearml" in names and not clearml_is_configured():
        use_local_server()
    return names


def clearml_is_configured() -> bool:
    """Tell whether the user has a ClearML server: by environment variables or a clearml.conf."""
    if os.environ.get("CLEARML_API_HOST") or os.environ.get("CLEARML_API_ACCESS_KEY"):
        return True
    named = os.environ.get("CLEARML_CONFIG_FILE")
    return (Path(named).expanduser() if named else Path.home() / "clearml.conf").is_file()


def local_server() -> Running | None:
    """Return the stepwise server that runs on this machine's default folder, or None."""
    return find_running(default_folder())


def use_local_server() -> None:
    """Point the ClearML SDK of this process, and of those it starts, to the server of this machine, if one runs."""
    server = local_server()
    if server:
        from stepwise_server.installation import read_client

        os.environ.update(variables(server.url, read_client(Path(server.folder))))


def tracker_links(run_dir: Path) -> dict[str, str]:
    """Return where a run is seen, by tracker, for those that have told."""
    links = {}
    for cursor in sorted((run_dir / "relay").glob("*.json")):
        state = json.loads(cursor.read_text(encoding="utf-8")).get("state")
        if isinstance(state, dict) and state.get("url"):
            links[cursor.stem] = str(state["url"])
    return links
