"""Use cases of owners and the keys that speak for them.

A key is 256 random bits, so its SHA-256 is kept and nothing slower: nobody can try 2^256 secrets, whatever a try costs,
while a slow hash would be paid with every request and by whoever floods us with wrong keys. It needs no salt either: no
two keys are alike. The digest is looked up by an index, and its bits are none that a caller could choose.
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import structlog

from .db import Database
from .db import credentials as rows
from .db import libraries as owner_rows
from .entities import Credential, Owner, Scope
from .errors import Conflict, FieldError, TokenExpired, Unauthenticated, ValidationFailed

log = structlog.get_logger(__name__)

KEY = re.compile(r"nlk_[A-Za-z0-9_-]{43}")
PREFIX = 12
"""How much of a key stays visible: enough to tell keys apart, and 208 bits stay unknown."""
MAX_KEYS = 100
"""Of one owner."""
MAX_SESSIONS = 50
"""Of one owner."""
DEFAULT_SCOPES = (Scope.READ, Scope.WRITE, Scope.JOBS)


async def ensure_owner(db: Database, subject: str, issuer: str = "") -> UUID:
    """The owner whom the issuer calls so, made at first sight."""
    async with db.statements() as tx:
        return await owner_rows.upsert_owner(tx, subject, issuer)


async def find_owner(db: Database, subject: str, issuer: str = "") -> UUID:
    """Raises NotFound."""
    async with db.statements() as tx:
        return await owner_rows.find_owner(tx, subject, issuer)


async def create_key(
    db: Database,
    owner: UUID,
    *,
    name: str,
    scopes: frozenset[Scope] = frozenset(DEFAULT_SCOPES),
    expires_at: datetime | None = None,
) -> tuple[str, Credential]:
    """(the key, which nobody can read again; its row). Raises ValidationFailed, Conflict."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        wrong = FieldError("/expires_at", "past", "must lie in the future")
        raise ValidationFailed(f"{wrong.pointer}: {wrong.message}", fields=[wrong])
    key = f"nlk_{secrets.token_urlsafe(32)}"
    async with db.transaction() as tx:
        await owner_rows.lock_owner(tx, owner)
        if await rows.count_keys(tx, owner) >= MAX_KEYS:
            raise Conflict(f"an owner may have {MAX_KEYS} keys: revoke those that nobody uses")
        row = await rows.insert(
            tx,
            owner,
            kind="key",
            name=name,
            prefix=key[:PREFIX],
            digest=_digest(key),
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
    log.info("key.created", key=str(row.id), prefix=row.prefix, owner=str(owner), scopes=sorted(scopes))
    return key, row


async def find_key(db: Database, key: str) -> Credential:
    """Whose key it is. Raises Unauthenticated, TokenExpired."""
    found = None
    if KEY.fullmatch(key):
        async with db.statements() as tx:
            found = await rows.find(tx, "key", _digest(key))
    if found is None:
        raise Unauthenticated("this key is not known here, or was revoked")
    credential, expired = found
    if expired:
        raise TokenExpired("this key has expired")
    return credential


async def create_session(
    db: Database,
    owner: UUID,
    *,
    parent: UUID | None,
    scopes: frozenset[Scope],
    lasts_s: float,
    expires_at: datetime | None,
    pepper: bytes,
) -> tuple[str, Credential]:
    """(the secret, its row). It ends after `lasts_s`, at `expires_at`, or with the key `parent`: at the first of them.
    An owner has so many; a new one takes the place of the oldest.
    """
    secret = secrets.token_urlsafe(32)
    until = datetime.now(UTC) + timedelta(seconds=lasts_s)
    async with db.transaction() as tx:
        await rows.trim_sessions(tx, owner, MAX_SESSIONS - 1)
        row = await rows.insert(
            tx,
            owner,
            kind="session",
            name="",
            prefix="",
            digest=_peppered(secret, pepper),
            scopes=sorted(scopes),
            expires_at=min(until, expires_at or until),
            parent=parent,
        )
    return secret, row


async def find_session(db: Database, secret: str, pepper: bytes) -> Credential:
    """Raises Unauthenticated, TokenExpired."""
    async with db.statements() as tx:
        found = await rows.find(tx, "session", _peppered(secret, pepper))
    if found is None:
        raise Unauthenticated("this session is not known here, or was ended")
    credential, expired = found
    if expired:
        raise TokenExpired("this session has expired")
    return credential


async def end_session(db: Database, session: UUID) -> None:
    """It opens nothing any more."""
    async with db.statements() as tx:
        await rows.delete_session(tx, session)


async def list_keys(
    db: Database, owner: UUID | None, *, before: UUID | None = None, limit: int = 200
) -> Sequence[tuple[Credential, str]]:
    """Newest first, each with the subject of its owner: of one owner, or of all."""
    async with db.statements() as tx:
        return await rows.keys(tx, owner, before, limit)


async def revoke_key(db: Database, key: UUID, owner: UUID | None) -> None:
    """From now on it opens nothing; open streams end within seconds. With an owner only a key of theirs. Raises
    NotFound.
    """
    async with db.transaction() as tx:
        row = await rows.delete_key(tx, key, owner)
    log.info("key.revoked", key=str(key), prefix=row.prefix, owner=str(row.owner_id))


async def ended(db: Database, credentials: Sequence[UUID]) -> frozenset[UUID]:
    """Of these credentials, the ones that open nothing any more."""
    async with db.statements() as tx:
        return frozenset(await rows.ended(tx, credentials))


async def describe(db: Database, owner: UUID) -> tuple[Owner, dict[str, int]]:
    """The owner, and what they use: storage_bytes, jobs_active."""
    async with db.statements() as tx:
        found = await owner_rows.get_owner(tx, owner)
        usage = await owner_rows.usage(tx, owner)
    return found, dict(usage)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _peppered(secret: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, secret.encode(errors="replace"), sha256)
