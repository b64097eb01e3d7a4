"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stepwise_server.store.database import Database

if TYPE_CHECKING:
    from stepwise_server.auth.authenticate import Authenticator


@dataclass(frozen=True)
class Settings:
    """How a server was started.

    Attributes:
        folder: the data folder of the installation.
        host: address that it listens at.
        port: port that it listens at.
        url: how clients reach it, without a slash at the end.
        open_reads: whether files may be read without a token.
        webapp: folder with the official web app's files, served in place of the page.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8008
    url: str = "http://127.0.0.1:8008"
    open_reads: bool = False
    webapp: Path | None = None

    @property
    def files(self) -> Path:
        """Folder of the stored files."""
        return self.folder / "files"


@dataclass
class Services:
    """The database, the authenticator, the settings; `state` is for what a service keeps in memory."""

    settings: Settings
    database: Database
    authenticator: Authenticator
    state: dict[str, object] = field(default_factory=dict)
