"""The outbox of events, and who is working."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from neuralib.entities import Event

from . import Connection, Row


async def append(tx: Connection, event: Event) -> int:
    """In the transaction of the change it tells of. The owner's row is locked until the commit, so that numbers
    become visible in order and without gaps.
    """
    seq: int = await tx.value("append_event", event.owner_id, event.type, event.job_id, event.data)
    return seq


async def after(
    tx: Connection, owner: UUID, seq: int, *, job: UUID | None = None, limit: int = 500
) -> list[Event]:
    rows = await tx.all("list_events", owner, seq, job, limit)
    return [Event(r["type"], r["data"], r["owner_id"], r["seq"], r["job_id"], r["at"]) for r in rows]


async def bounds(tx: Connection, owner: UUID) -> tuple[int, int]:
    """(newest number given, oldest number still kept)."""
    row = await tx.one("event_bounds", owner)
    return (row["head"], row["oldest"]) if row else (0, 1)


async def heads(tx: Connection, owners: Sequence[UUID]) -> dict[UUID, int]:
    """The newest number given to each owner."""
    return {row["id"]: row["event_seq"] for row in await tx.all("event_heads", owners)}


async def prune(tx: Connection, older_than: timedelta) -> int:
    return await tx.run("prune_events", older_than)


async def beat_worker(
    tx: Connection, name: str, host: str, pid: int, models: Sequence[Mapping[str, Any]]
) -> None:
    await tx.run("beat_worker", name, host, pid, models)


async def remove_worker(tx: Connection, name: str) -> None:
    await tx.run("remove_worker", name)


async def live_workers(tx: Connection, within: timedelta) -> Sequence[Row]:
    return await tx.all("live_workers", within)


async def prune_workers(tx: Connection, older_than: timedelta) -> int:
    return await tx.run("prune_workers", older_than)
