"""What clients have to be told: the addresses, the access key. As clearml.conf, as variables, as words."""

import json
import shlex
from pathlib import Path

from stepwise_server.auth.secrets import write_private
from stepwise_server.installation import Client, read_client

CONFIG = "clearml.conf"
ENVIRONMENT = "client.env"


def variables(url: str, client: Client) -> dict[str, str]:
    """Return the environment variables for a client.

    All three addresses, since the SDK guesses the others wrongly when everything is behind one port.
    """
    return {
        "CLEARML_API_HOST": f"{url}/api",
        "CLEARML_WEB_HOST": url,
        "CLEARML_FILES_HOST": f"{url}/files",
        "CLEARML_API_ACCESS_KEY": client.access_key,
        "CLEARML_API_SECRET_KEY": client.secret_key,
    }


def write_files(folder: Path, url: str) -> None:
    """Write clearml.conf and client.env into the data folder, readable for the owner alone.

    Args:
        folder: the data folder.
        url: how clients reach the server.
    """
    client = read_client(folder)
    given = variables(url, client)
    lines = "".join(f"{name}={value}\n" for name, value in given.items())
    write_private(folder / ENVIRONMENT, lines.encode())
    quoted = {name: json.dumps(value) for name, value in given.items()}
    config = f"""# Written by `stepwise server start`; used with CLEARML_CONFIG_FILE={folder / CONFIG}
api {{
    api_server: {quoted["CLEARML_API_HOST"]}
    web_server: {quoted["CLEARML_WEB_HOST"]}
    files_server: {quoted["CLEARML_FILES_HOST"]}
    credentials {{
        "access_key" = {quoted["CLEARML_API_ACCESS_KEY"]}
        "secret_key" = {quoted["CLEARML_API_SECRET_KEY"]}
    }}
}}
"""
    write_private(folder / CONFIG, config.encode())


def instructions(folder: Path, url: str) -> list[str]:
    """Return the lines that tell people how to use a server that has started."""
    client = read_client(folder)
    lines = [f"ClearML server at {url}, data in {folder}", "For clients, one of:"]
    lines.append(f"  export CLEARML_CONFIG_FILE={shlex.quote(str(folder / CONFIG))}")
    lines.append(f"  set -a; . {shlex.quote(str(folder / ENVIRONMENT))}; set +a")
    if client.password:
        lines.append(f"For the page: user {client.username}, password in {folder / 'client.json'}")
    return lines
