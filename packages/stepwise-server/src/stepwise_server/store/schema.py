"""The tables, and the steps that bring an older database to them.

`PRAGMA user_version` counts the steps taken. A step never changes once released: what is new is a further step.
"""

import sqlite3
from importlib import resources

from stepwise_server.errors import ServerError


def steps() -> list[str]:
    """Return the SQL scripts of `store/migrations/`, in order."""
    folder = resources.files("stepwise_server.store") / "migrations"
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def require_current(connection: sqlite3.Connection) -> None:
    """Check a database that a command works on beside the server.

    Raises:
        ServerError: if it is of another version.
    """
    known = len(steps())
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    require_known(version, known)
    if version < known:
        message = f"the database has the older schema {version}"
        raise ServerError(message, hint="stepwise server start   (brings it up to date)", exit_code=6)


def require_known(version: int, known: int) -> None:
    """Check that a schema is not of a newer version.

    Raises:
        ServerError: if it is.
    """
    if version > known:
        raise ServerError(
            f"the database has schema {version}; this version of stepwise-server knows {known}",
            hint="pip install --upgrade stepwise-server",
            exit_code=6,
        )


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, or bring them up to date, in one transaction.

    Raises:
        ServerError: if a newer version wrote the database.
    """
    known = steps()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    require_known(version, len(known))
    if version == len(known):
        return
    script = "\n".join(known[version:])
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {len(known)};\nCOMMIT;")
