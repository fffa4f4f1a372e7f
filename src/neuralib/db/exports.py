"""Orders of exports: what was chosen, until they expire."""

from datetime import timedelta
from uuid import UUID

from neuralib.entities import Export
from neuralib.errors import NotFound

from . import Connection, Row


def _export(row: Row) -> Export:
    return Export(
        id=row["id"],
        owner_id=row["owner_id"],
        library_id=row["library_id"],
        asset_ids=tuple(row["asset_ids"]),
        tree=row["tree"],
        include=tuple(row["include"]),
        name_template=row["name_template"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        expired=row["expired"],
    )


async def insert(tx: Connection, export: Export, kept: timedelta) -> Export:
    """One that has the id already was made by the same request, and is the answer."""
    await tx.run(
        "insert_export",
        export.id,
        export.owner_id,
        export.library_id,
        export.asset_ids,
        export.tree,
        export.include,
        export.name_template,
        kept,
    )
    return await get(tx, export.owner_id, export.id)


async def get(tx: Connection, owner: UUID, export: UUID) -> Export:
    """Raises NotFound."""
    row = await tx.one("get_export", owner, export)
    if row is None:
        raise NotFound(f"there is no export {export}")
    return _export(row)


async def prune(tx: Connection, owner: UUID, told: timedelta) -> None:
    """Forget those that expired so long ago, and all but the newest."""
    await tx.run("prune_exports", owner, told)
