"""The four packages are released together and pin each other; a mixed installation is refused, in words."""

from importlib.metadata import PackageNotFoundError, version

import click

from stepwise_cli import __version__

SIBLINGS = ("stepwise-core", "stepwise-track", "stepwise-server")


class VersionMismatch(click.ClickException):
    """The installed stepwise packages do not belong together."""

    hint = f"python -m pip install stepwise-cli=={__version__}"


def require_same_versions() -> None:
    """Check that the sibling packages are installed in the version of this one.

    Raises:
        VersionMismatch: one is missing or differs; the message names each one.
    """
    problems = [
        f"{name} {found or 'is missing'} stands next to stepwise-cli {__version__}"
        for name, found in installed_versions().items()
        if found != __version__
    ]
    if problems:
        raise VersionMismatch("\n".join(problems))


def installed_versions() -> dict[str, str | None]:
    """Return the installed version of each sibling package, None where there is none."""
    return {name: _version(name) for name in SIBLINGS}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
