"""The trash."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from neuralib.db.trash import Thrown

from .base import Reply, Request


class DeleteQuery(Request):
    purge: Annotated[bool, Field(description="Delete it for good, also from the trash.")] = False


class TrashItem(Reply):
    kind: Literal["asset", "library"]
    id: UUID
    library_id: UUID
    name: str
    assets: Annotated[int, Field(description="How many assets come back with it.")]
    trashed_at: datetime
    expires_at: Annotated[
        datetime | None, Field(description="When it is deleted for good; null: when the trash is emptied.")
    ]

    @classmethod
    def of(cls, thrown: Thrown, kept: timedelta | None) -> dict[str, Any]:
        return cls.model_validate(
            {
                **{name: getattr(thrown, name) for name in ("kind", "id", "library_id", "name", "assets")},
                "trashed_at": thrown.trashed_at,
                "expires_at": thrown.trashed_at + kept if kept else None,
            }
        ).model_dump(mode="json")


class TrashPage(Reply):
    items: list[TrashItem]
    next_cursor: str | None


class Emptied(Reply):
    purged: Annotated[int, Field(description="How many things that had been thrown away.")]
