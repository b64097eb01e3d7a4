"""The table of endpoints: what is callable, by whom, from which version on."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.auth.identity import Role
from stepwise_server.store.database import Transaction

Handler = Callable[[Transaction, Call], Any]

API_VERSION = "2.34"
"""The newest version of the API that is served."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One callable action.

    Attributes:
        name: `service.action`.
        handler: answers the call with the `data` of the envelope, or with a `Reply`.
        writes: whether it runs in the writing thread.
        role: what the caller must be, at least; None if nobody needs to be recognised.
        version: first version of the API that has it.
        batch: whether the body is lines of JSON, which become `call.batch`.
        prepare: what can be done before the handler runs, outside the writing thread: becomes `call.prepared`.
    """

    name: str
    handler: Handler
    writes: bool
    role: Role | None
    version: tuple[int, int]
    batch: bool
    prepare: Callable[[Call], Any] | None = None


_endpoints: dict[str, list[Endpoint]] = {}


def endpoint(
    name: str,
    *,
    writes: bool = False,
    role: Role | str | None = "",
    version: tuple[int, int] = (1, 0),
    batch: bool = False,
    prepare: Callable[[Call], Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Register a function as the answer to `name`.

    Args:
        name: `service.action`.
        writes: whether it changes anything. Guests may not call it then.
        role: overrides who may call: by default a user if it writes, a guest if it reads. None: anybody.
        version: first version of the API that has it; of several the newest that fits is called.
        batch: whether the body is lines of JSON.
        prepare: decodes and checks the call outside the writing thread, which all clients share.
    """
    needed: Any = role if role != "" else ("user" if writes else "guest")

    def register(handler: Handler) -> Handler:
        variants = _endpoints.setdefault(name, [])
        variants.append(Endpoint(name, handler, writes, needed, version, batch, prepare))
        variants.sort(key=lambda each: each.version, reverse=True)
        return handler

    return register


def find(name: str, version: tuple[int, int]) -> Endpoint | None:
    """Return the newest variant of an endpoint that this version has, or None."""
    return next((each for each in _endpoints.get(name, ()) if each.version <= version), None)


def endpoints() -> list[Endpoint]:
    """Return all endpoints, by name."""
    return [variant for name in sorted(_endpoints) for variant in _endpoints[name]]


def load_services() -> None:
    """Import every module below `api`, which fills the table."""
    package = importlib.import_module("stepwise_server.api")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
