"""What an endpoint is given: the caller, the parameters, the services; and what it may answer besides a dictionary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepwise_server.auth.identity import Identity
from stepwise_server.errors import ApiError, invalid, missing
from stepwise_server.services import Services


@dataclass(slots=True)
class Reply:
    """An answer that is more than `data`.

    Attributes:
        data: the content of the envelope.
        token: becomes the login cookie; "" makes the browser forget it.
        body: chunks of a raw body, sent instead of the envelope.
        media_type: of the raw body.
        filename: name that a browser saves the raw body under.
    """

    data: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    body: Iterator[bytes] | None = None
    media_type: str = "application/octet-stream"
    filename: str = ""


@dataclass(slots=True)
class Call:
    """One call of an endpoint.

    Attributes:
        endpoint: `service.action`.
        params: the parameters. None and absent mean the same: use the methods below.
        batch: the lines of a batch, undecoded.
        prepared: what the endpoint's `prepare` returned.
        identity: who calls; None for an unrecognised caller of a public endpoint.
        services: the rest of the server.
        version: requested version of the API.
        headers: request headers, names in lower case.
        cookies: by name.
        address: the caller's address.
    """

    endpoint: str
    params: dict[str, Any]
    services: Services
    identity: Identity | None = None
    batch: Sequence[bytes] = ()
    prepared: Any = None
    version: tuple[int, int] = (999, 0)
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = ""

    @property
    def user(self) -> str:
        """Id of the caller."""
        return self.caller.user

    @property
    def caller(self) -> Identity:
        """Who calls.

        Raises:
            ApiError: 401/20 if nobody was recognised.
        """
        if self.identity is None:
            raise ApiError(401, 20, "Unauthorized (missing credentials)")
        return self.identity

    @property
    def worker(self) -> str:
        """Name of the machine or worker that calls, "" if it did not say."""
        return self.headers.get("x-clearml-worker") or self.headers.get("x-trains-worker") or ""

    def given(self, name: str) -> bool:
        """Tell whether a parameter is there and not null."""
        return self.params.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a string parameter. Raises ApiError 400/12 for another type; so do the methods below."""
        value: str = self._typed(name, str, default)
        return value

    def required(self, name: str) -> str:
        """Return a string parameter that must be there (else 400/11) and not be empty."""
        if not (value := self.text(name)):
            raise missing(name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean parameter; 0 and 1 count."""
        value = self.params.get(name)
        if value in (0, 1):
            return bool(value)
        result: bool = self._typed(name, bool, default)
        return result

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Return a whole number; a float without fraction counts."""
        value = self.params.get(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool):
            raise invalid(f"{name} is no whole number", value=value)
        result: int | None = self._typed(name, int, default)
        return result

    def number(self, name: str, default: float | None = None) -> float | None:
        """Return a number."""
        if isinstance(self.params.get(name), bool):
            raise invalid(f"{name} is no number", value=self.params[name])
        value = self._typed(name, (int, float), default)
        return None if value is None else float(value)

    def texts(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """Return a list of strings; one string is a list of one."""
        value = self.params.get(name)
        values = [value] if isinstance(value, str) else list(self._typed(name, list, list(default)))
        for each in values:
            if not isinstance(each, str):
                raise invalid(f"{name} holds something else than strings", value=each)
        return values

    def ids(self, name: str = "ids") -> list[str]:
        """Return a list of ids that must be there."""
        if not self.given(name):
            raise missing(name)
        return self.texts(name)

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return a list of objects."""
        values: list[Any] = self._typed(name, list, [])
        for each in values:
            if not isinstance(each, dict):
                raise invalid(f"{name} holds something else than objects", value=each)
        return values

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object."""
        value: dict[str, Any] = self._typed(name, dict, {})
        return value

    def _typed(self, name: str, types: Any, default: Any) -> Any:
        value = self.params.get(name)
        if value is None:
            return default
        if not isinstance(value, types):
            raise invalid(f"{name} has a wrong type", value=type(value).__name__)
        return value
