"""Libraries."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints

from neuralib import entities

from .base import Color, Name, Reply, Request

Description = Annotated[str, StringConstraints(max_length=4000)]


class NewLibrary(Request):
    name: Name
    description: Description = ""
    color: Color | None = None


class LibraryPatch(Request):
    """A merge patch (RFC 7396): what is absent stays, null clears."""

    name: Name = ""
    description: Description | None = None
    color: Color | None = None


class Library(Reply):
    id: UUID
    name: str
    description: str
    color: str | None
    version: int
    asset_count: int
    bytes: int
    duration_s: Annotated[float, Field(description="Of its tracks.")]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, library: entities.Library) -> dict[str, Any]:
        return cls(
            id=library.id,
            name=library.name,
            description=library.description,
            color=library.color,
            version=library.version,
            asset_count=library.asset_count,
            bytes=library.bytes,
            duration_s=library.duration,
            created_at=library.created_at,
            updated_at=library.updated_at,
        ).model_dump(mode="json")


class LibraryPage(Reply):
    items: list[Library]
    next_cursor: str | None
