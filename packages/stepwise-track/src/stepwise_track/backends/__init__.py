"""The backends: which there are, and which a run wants."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stepwise_track.backends.protocol import Backend
from stepwise_track.errors import TrackError
from stepwise_track.secrets import is_secret_name
from stepwise_track.values import as_plain

GROUP = "stepwise_track.backends"
"""Entry point group under which a package declares its backends."""

BUILT_IN = ("local", "tensorboard", "clearml", "wandb", "mlflow")
"""Those of this package; their names need no search through the installed packages."""

VARIABLE = "STEPWISE_BACKENDS"
"""Environment variable with the names of the backends, separated by commas, where a script names none."""

Wanted = dict[str, dict[str, Any]]
"""Options by name of the backend."""


def wanted_backends(backends: Sequence[str] | Mapping[str, Mapping[str, Any] | None] | str | None) -> Wanted:
    """Return the backends that a run wants besides its journal, with their options.

    Args:
        backends: names, or options by name; None leaves it to `STEPWISE_BACKENDS`.

    Raises:
        TrackError: if there is no backend of a name, or an option looks like a secret: options are kept in the
            run folder.
    """
    if backends is None:
        backends = os.environ.get(VARIABLE, "")
    if isinstance(backends, str):
        backends = [name.strip() for name in backends.split(",") if name.strip()]
    given = backends if isinstance(backends, Mapping) else dict.fromkeys(backends)
    for name, options in given.items():
        _require_known(name)
        for option in options or {}:
            if is_secret_name(option):
                raise TrackError(
                    f"option {option!r} of backend {name!r} may be a secret, and options are kept in the run folder",
                    hint=f"give it to {name} by its own environment variable or configuration file",
                )
    return {name: as_plain(options or {}) for name, options in given.items() if name != "local"}


def _require_known(name: str) -> None:
    if name in BUILT_IN or name in (known := available_backends()):
        return
    raise TrackError(
        f"there is no backend {name!r}",
        hint=f"one of {', '.join(sorted({*known, *BUILT_IN}))}; others by a package that declares {GROUP}",
    )


def available_backends() -> dict[str, EntryPoint]:
    """Return every declared backend by name, without importing any."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_backend(name: str) -> type[Backend]:
    """Import a backend.

    Raises:
        TrackError: if there is none of this name, or a package that it needs is not installed.
    """
    _require_known(name)
    try:
        backend: type[Backend] = available_backends()[name].load()
    except (ImportError, KeyError) as error:
        remedy = f"pip install 'stepwise-track[{name}]'" if name in BUILT_IN else "install what it needs"
        raise TrackError(f"backend {name} cannot be loaded: {error}", hint=remedy) from error
    return backend
