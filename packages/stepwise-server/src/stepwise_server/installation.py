"""A data folder: what is in it, and how a new one comes to be.

server.sqlite    everything but the files
files/           artifacts, models, images, as clients uploaded them
token.secret     what tokens are signed with (0600)
client.json      access key and password that were generated with the folder (0600)
clearml.conf, client.env    the same for clients, as `start` wrote them (0600)
server.lock      held by the server that has the folder
server.json      how that one is reached
"""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stepwise_server import watchdog
from stepwise_server.api.registry import API_VERSION, load_services
from stepwise_server.auth import accounts, secrets
from stepwise_server.auth.authenticate import Authenticator
from stepwise_server.auth.published import refuse_published
from stepwise_server.errors import ServerError
from stepwise_server.files.store import FileStore
from stepwise_server.ops.folder import locked, make
from stepwise_server.services import Services, Settings
from stepwise_server.store import entities
from stepwise_server.store.database import Database, Transaction

DATABASE = "server.sqlite"

DEFAULT_USER = "__tests__"
"""Id of the first user: what clients of a stock server expect to find."""


@dataclass(frozen=True)
class Client:
    """What the first user gets in with: programs by the key, people by name and password.

    Attributes:
        access_key: of the default user.
        secret_key: that belongs to it.
        username: for the page.
        password: that belongs to it.
    """

    access_key: str
    secret_key: str
    username: str = "admin"
    password: str = ""


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """Open an installation, a new one if the folder is empty, and close it at the end.

    Raises:
        ServerError: if a newer version wrote it, or another server has it.
    """
    make(settings.folder)
    with locked(settings.folder), contextlib.ExitStack() as stack:
        settings.files.mkdir(exist_ok=True, mode=0o700)
        load_services()
        file = settings.folder / DATABASE
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its other files the same mode
        database = Database(file)
        stack.callback(database.close)
        secret = secrets.installation_secret(settings.folder)
        authenticator = Authenticator(database, secret, API_VERSION)
        files = FileStore(settings.files, database, settings.hosts)
        services = Services(settings, database, authenticator, files)
        _provision(services)
        stack.callback(watchdog.start(services))
        yield services


def read_client(folder: Path) -> Client:
    """Return what was generated with the folder.

    Raises:
        ServerError: if it is not there or cannot be read.
    """
    file = folder / "client.json"
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return Client(**{name: str(stored[name]) for name in Client.__dataclass_fields__ if name in stored})
    except (OSError, ValueError, TypeError) as error:
        message = f"{file} holds no access key: {error}"
        raise ServerError(message, hint="stepwise server credentials create", exit_code=3) from None


def write_client(folder: Path, client: Client) -> None:
    """Keep it, readable for the owner alone."""
    secrets.write_private(folder / "client.json", json.dumps(asdict(client), indent=2).encode())


def client_credentials(folder: Path) -> tuple[str, str]:
    """Return access key and secret that were generated with the folder."""
    client = read_client(folder)
    return client.access_key, client.secret_key


def _provision(services: Services) -> None:
    """Give a new installation its first user, that user's access key and password, and the default queue.

    A client.json that is there already, put there for clients that are configured beforehand, gives the pair.

    Raises:
        ServerError: if that is a published pair.
    """
    database, folder = services.database, services.settings.folder
    if database.read(lambda tx: tx.value("SELECT value FROM settings WHERE name = 'uid'")):
        return
    if (folder / "client.json").exists():
        client = read_client(folder)
        refuse_published(client.access_key)
    else:
        client = Client(secrets.new_access_key(), secrets.new_secret(), password=secrets.new_password())
        # The file first: a crash between the two leaves a pair that will be taken, never one that is lost.
        write_client(folder, client)

    def provision(tx: Transaction) -> None:
        login = {"username": client.username, "password": client.password} if client.password else {}
        accounts.add_user(tx, "Default User", "admin", id=DEFAULT_USER, **login)
        label = "generated at the first start"
        accounts.add_key(tx, DEFAULT_USER, label, client.access_key, client.secret_key)
        queue = {"name": "default", "system_tags": ["default"], "user": DEFAULT_USER}
        entities.insert(tx, entities.QUEUE, {**queue, "created": tx.now, "last_update": tx.now})
        tx.execute("INSERT INTO settings VALUES ('uid', ?)", [entities.new_id()])

    database.write(provision)
