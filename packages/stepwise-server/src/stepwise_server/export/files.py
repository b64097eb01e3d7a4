"""Files on their way: down from the source, up to the target, each once."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from stepwise_server.export.client import Remote
from stepwise_server.export.ledger import Ledger


@dataclass
class FileMover:
    """Moves files and says where they went.

    Attributes:
        source: server that has them.
        target: server that gets them.
        ledger: what was moved before.
        missing: URLs that the source lists and does not have.
    """

    source: Remote
    target: Remote
    ledger: Ledger
    missing: list[str] = field(default_factory=list)

    def move(self, url: str | None) -> str | None:
        """Return the URL at the target of a file, moved unless it was before.

        A URL that is not on the source's file server, such as one in a bucket, stays what it is; so does that
        of a file which the source has lost.
        """
        if not url or not self.source.owns(url):
            return url
        if known := self.ledger.target("file", url):
            return known
        with tempfile.TemporaryDirectory(prefix="stepwise-export-") as folder:
            copy = Path(folder) / "file"
            if not self.source.download(url, copy):
                self.missing.append(url)
                return url
            moved = self.target.upload(self.source.path(url), copy)
        self.ledger.note("file", url, moved)
        return moved
