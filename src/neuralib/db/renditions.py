"""What is made once from a blob and stored beside it. The rows go with their blob and leave their keys to the sweeper."""

from uuid import UUID

from neuralib.entities import Rendition

from . import Connection
from . import assets as asset_rows


async def find(tx: Connection, owner: UUID, blob: UUID, kind: str) -> Rendition | None:
    row = await tx.one("get_rendition", owner, blob, kind)
    return Rendition(**row) if row else None


async def insert(tx: Connection, owner: UUID, blob: UUID, new: Rendition) -> bool:
    """Whether it is kept, and its key no longer pending. Else there is one already, or no such blob any more, and the
    key is due for the sweeper.
    """
    kept = await tx.run(
        "insert_rendition", owner, blob, new.kind, new.key, new.bytes, new.media_type, new.facts
    )
    await (asset_rows.drop_pending if kept else asset_rows.expire_pending)(tx, [new.key])
    return bool(kept)
