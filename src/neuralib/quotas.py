"""How much an owner may keep."""

from uuid import UUID

from .config import Limits
from .db import Connection
from .db import assets as rows
from .errors import QuotaExceeded


async def require_room(tx: Connection, limits: Limits, owner: UUID, size: int = 1) -> None:
    """Before something is made. Raises QuotaExceeded when there is no room for `size` more bytes."""
    quota = limits.storage_bytes_per_owner
    if quota and (used := await rows.stored_bytes(tx, owner)) + size > quota:
        raise QuotaExceeded(f"{used} of {quota} bytes are in use")


async def require_kept(tx: Connection, limits: Limits, owner: UUID) -> None:
    """After everything was written, in the same transaction, which has locked the owner (each event does): so of two
    that would fit alone the later one is refused. Raises QuotaExceeded; bytes that were there before cost nothing.
    """
    quota = limits.storage_bytes_per_owner
    if quota and (used := await rows.stored_bytes(tx, owner)) > quota:
        raise QuotaExceeded(f"it would take {used} of {quota} bytes")
