"""Idempotency keys: who carries out a request, and what was answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from neuralib.entities import new_id

from . import Connection


@dataclass(frozen=True, slots=True)
class Key:
    """A key of one owner on one route."""

    owner: UUID
    route: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to carry out a key's request, until the lease ends. An older attempt may not answer any more."""

    key: Key
    attempt: int
    first_id: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """What a key's request was answered; `status` is None while it is carried out, `body` when it was not kept."""

    fingerprint: str | None
    status: int | None
    headers: Mapping[str, str]
    body: bytes | None


async def take(tx: Connection, key: Key, fingerprint: str | None, lease: timedelta) -> Turn | None:
    """None when the key has an answer, another request, or somebody who is carrying it out."""
    row = await tx.one("take_key", key.owner, key.route, key.text, fingerprint, new_id(), lease)
    return Turn(key, row["attempt"], row["first_id"]) if row else None


async def find(tx: Connection, key: Key) -> Answer | None:
    row = await tx.one("get_key", key.owner, key.route, key.text)
    return Answer(row["fingerprint"], row["status"], row["headers"] or {}, row["body"]) if row else None


async def renew(tx: Connection, turn: Turn, lease: timedelta) -> bool:
    """False when somebody else carries it out by now. A lease of nothing gives the turn back."""
    key = turn.key
    return await tx.run("renew_key", key.owner, key.route, key.text, turn.attempt, lease) == 1


async def answer(tx: Connection, turn: Turn, given: Answer) -> bool:
    """False when somebody else carries it out by now."""
    key = turn.key
    return (
        await tx.run(
            "answer_key",
            key.owner,
            key.route,
            key.text,
            turn.attempt,
            given.fingerprint,
            given.status,
            given.headers,
            given.body,
        )
        == 1
    )


async def prune(tx: Connection, older_than: timedelta) -> int:
    return await tx.run("prune_keys", older_than)
