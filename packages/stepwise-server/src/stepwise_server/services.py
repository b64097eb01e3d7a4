"""What the parts of a running server share."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stepwise_server.heartbeats import Heartbeats
from stepwise_server.store.database import Database

if TYPE_CHECKING:
    from stepwise_server.auth.authenticate import Authenticator
    from stepwise_server.files.store import FileStore

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself."""


@dataclass(frozen=True)
class Settings:
    """How a server was started.

    Attributes:
        folder: the data folder of the installation.
        host: address that it listens at.
        port: port that it listens at.
        url: how clients reach it, without a slash at the end.
        open_reads: whether files may be read without a token.
        log_requests: whether every request is logged, not only those that failed.
        webapp: folder with the official web app's files, served in place of the page.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8008
    url: str = "http://127.0.0.1:8008"
    open_reads: bool = False
    log_requests: bool = False
    webapp: Path | None = None

    @property
    def files(self) -> Path:
        """Folder of the stored files."""
        return self.folder / "files"

    @cached_property
    def hosts(self) -> frozenset[str]:
        """`host:port` under which clients may know this server."""
        public = urlsplit(self.url)
        port = public.port or (443 if public.scheme == "https" else 80)
        names = (*LOOPBACK, self.host, socket.gethostname().lower())
        return frozenset({f"{public.hostname}:{port}", *(f"{name}:{self.port}" for name in names)})


@dataclass
class Services:
    """What a running server has; `state` is for what a service keeps in memory."""

    settings: Settings
    database: Database
    authenticator: Authenticator
    files: FileStore
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    state: dict[str, object] = field(default_factory=dict)
