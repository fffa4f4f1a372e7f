"""What analyses found: of each asset the newest."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from . import Connection


async def keep(
    tx: Connection,
    owner: UUID,
    asset: UUID,
    file: UUID,
    *,
    summary: Mapping[str, Any],
    bpm: float | None,
    musical_key: str | None,
    beats: Sequence[float],
) -> None:
    """In place of what an earlier one found. `file` is the asset that has all of it."""
    await tx.run("summarise_asset", owner, asset, summary, bpm, musical_key)
    await tx.run("keep_analysis", asset, owner, file, list(beats))


async def file_of(tx: Connection, owner: UUID, asset: UUID) -> UUID | None:
    """The asset that has all of it; None when there is no analysis, or its file was deleted."""
    row = await tx.one("get_analysis", owner, asset)
    return row["file_id"] if row else None


async def waiting(tx: Connection, assets: Sequence[UUID], priority: int) -> list[UUID]:
    """Jobs, locked, that would analyse one of them and have not begun."""
    return [row["id"] for row in await tx.all("waiting_analyses", assets, priority)]
