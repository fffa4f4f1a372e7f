"""Who a request speaks for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from neuralib.entities import Credential, Scope
from neuralib.errors import InsufficientScope

EVERYTHING = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Principal:
    """An owner, as far as their credentials reach."""

    owner: UUID
    scopes: frozenset[Scope]
    by: Literal["nothing", "token", "key", "oidc", "session"]
    """What said so; `nothing` is the single user of a loopback server."""
    credential: UUID | None = None
    """The row to look at again while a stream is open: it may be gone by then."""
    expires_at: datetime | None = None

    def require(self, *scopes: Scope) -> None:
        """Raises InsufficientScope."""
        missing = sorted(set(scopes) - self.scopes)
        if missing:
            raise InsufficientScope(f"this needs the scope {' and '.join(missing)}")


def of_credential(found: Credential) -> Principal:
    """What a row of the database says."""
    by: Literal["key", "session"] = "session" if found.kind == "session" else "key"
    return Principal(found.owner_id, found.scopes, by, found.id, found.expires_at)
