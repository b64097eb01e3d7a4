"""A data folder: what is in it, and how a new one comes to be.

server.sqlite    everything but the files
files/           artifacts, models, images, as clients uploaded them
token.secret     what tokens are signed with (0600)
client.json      the access key that was generated with the folder (0600)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepwise_server.api.registry import API_VERSION, load_services
from stepwise_server.auth import secrets
from stepwise_server.auth.authenticate import Authenticator
from stepwise_server.files.store import FileStore
from stepwise_server.services import Services, Settings
from stepwise_server.store import entities
from stepwise_server.store.database import Database, Transaction

DEFAULT_USER = "__tests__"
"""Id of the first user: what clients of a stock server expect to find."""


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """Open an installation, a new one if the folder is empty, and close it at the end.

    Raises:
        ServerError: if a newer version wrote it.
    """
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.files.mkdir(exist_ok=True, mode=0o700)
    load_services()
    database = Database(settings.folder / "server.sqlite")
    (settings.folder / "server.sqlite").chmod(0o600)
    try:
        secret = secrets.installation_secret(settings.folder)
        authenticator = Authenticator(database, secret, API_VERSION)
        files = FileStore(settings.files, database, settings.hosts)
        services = Services(settings, database, authenticator, files)
        _provision(services)
        yield services
    finally:
        database.close()


def client_credentials(folder: Path) -> tuple[str, str]:
    """Return access key and secret that were generated with the folder."""
    stored = json.loads((folder / "client.json").read_text(encoding="utf-8"))
    return stored["access_key"], stored["secret_key"]


def _provision(services: Services) -> None:
    """Give a new installation its first user, that user's access key, and the default queue."""
    database, folder = services.database, services.settings.folder
    if (
        database.read(lambda tx: tx.value("SELECT count(*) FROM credentials"))
        and (folder / "client.json").exists()
    ):
        return
    access_key, secret_key = secrets.new_access_key(), secrets.new_secret()

    def provision(tx: Transaction) -> None:
        if not entities.exists(tx, entities.USER, DEFAULT_USER):
            user = {"id": DEFAULT_USER, "name": "Default User", "role": "admin", "created": tx.now}
            entities.insert(tx, entities.USER, user)
        if not tx.one("SELECT 1 FROM queues"):
            queue = {"name": "default", "system_tags": ["default"], "user": DEFAULT_USER}
            entities.insert(tx, entities.QUEUE, {**queue, "created": tx.now, "last_update": tx.now})
        tx.execute("INSERT OR IGNORE INTO settings VALUES ('uid', ?)", [entities.new_id()])
        tx.execute(
            "INSERT INTO credentials (access_key, secret_hash, user, label, created) VALUES (?, ?, ?, ?, ?)",
            [
                access_key,
                secrets.hash_secret(secret_key),
                DEFAULT_USER,
                "generated at the first start",
                tx.now,
            ],
        )

    # The file first: a crash between the two leaves a key that is not known, never one that is lost.
    pair = json.dumps({"access_key": access_key, "secret_key": secret_key})
    secrets.write_private(folder / "client.json", pair.encode())
    database.write(provision)
