"""Who a request comes from."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["admin", "user", "guest"]

ROLES: tuple[Role, ...] = ("guest", "user", "admin")
"""From the one that may least: a guest only reads, an admin also manages other users."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that was recognised.

    Attributes:
        user: user id.
        name: the user's display name.
        role: what the user may do.
        access_key: the key that the token was asked for with; None after a login by password.
    """

    user: str
    name: str
    role: Role
    access_key: str | None = None

    def may(self, needed: Role) -> bool:
        """Tell whether this role covers the needed one."""
        return ROLES.index(self.role) >= ROLES.index(needed)
