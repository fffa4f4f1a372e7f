"""Keys and sessions. Only digests of their secrets come here."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from neuralib.entities import Credential, Scope, new_id
from neuralib.errors import NotFound

from . import Connection, Row

_COLUMNS = [f.name for f in fields(Credential)]


def _credential(row: Row) -> Credential:
    return Credential(
        **{name: row[name] for name in _COLUMNS} | {"scopes": frozenset(map(Scope, row["scopes"]))}
    )


async def insert(
    tx: Connection,
    owner: UUID,
    *,
    kind: str,
    name: str,
    prefix: str,
    digest: bytes,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    parent: UUID | None = None,
) -> Credential:
    return _credential(
        await tx.one(
            "insert_credential", new_id(), owner, parent, kind, name, prefix, digest, scopes, expires_at
        )
    )


async def find(tx: Connection, kind: str, digest: bytes) -> tuple[Credential, bool] | None:
    """The credential, and whether it has expired."""
    row = await tx.one("find_credential", kind, digest)
    return None if row is None else (_credential(row), row["expired"])


async def keys(
    tx: Connection, owner: UUID | None, before: UUID | None, limit: int
) -> list[tuple[Credential, str]]:
    """Newest first, with the subject of their owner: of one owner, or of all."""
    return [(_credential(row), row["subject"]) for row in await tx.all("list_keys", owner, before, limit)]


async def count_keys(tx: Connection, owner: UUID) -> int:
    count: int = await tx.value("count_keys", owner)
    return count


async def delete_key(tx: Connection, key: UUID, owner: UUID | None) -> Credential:
    """With the sessions made from it. Raises NotFound."""
    row = await tx.one("delete_key", key, owner)
    if row is None:
        raise NotFound(f"there is no key {key}")
    return _credential(row)


async def trim_sessions(tx: Connection, owner: UUID, keep: int) -> None:
    """The expired ones go, and the oldest beyond `keep`."""
    await tx.run("trim_sessions", owner, keep)


async def delete_session(tx: Connection, session: UUID) -> None:
    await tx.run("delete_session", session)


async def ended(tx: Connection, credentials: Sequence[UUID]) -> list[UUID]:
    """Of these, the ones that were revoked or have expired."""
    return [row["id"] for row in await tx.all("ended_credentials", credentials)]
