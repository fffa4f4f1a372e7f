"""Regions and markers of assets."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from neuralib import entities
from neuralib.entities import RegionKind
from neuralib.regions import MAX_REGIONS, Draft, RegionChanges, RegionSet

from .base import Color, Name, Reply, Request, printable

MAX_S = 1e6


def _each_once(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Tag = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=64),
    AfterValidator(printable),
]
Tags = Annotated[list[Tag], Field(max_length=50), AfterValidator(_each_once)]
Seconds = Annotated[float, Field(ge=0, le=MAX_S, allow_inf_nan=False)]
Kind = Annotated[RegionKind, Field(description="Regions and loops have an end, markers and cues have none.")]


class NewRegion(Request):
    kind: Kind = RegionKind.REGION
    start_s: Seconds
    end_s: Annotated[Seconds | None, Field(description="Behind the last sample of a region or loop.")] = None
    name: Name | None = None
    color: Color | None = None
    tags: Tags = []

    def draft(self) -> Draft:
        return Draft(self.kind, self.start_s, self.end_s, self.name, self.color, tuple(self.tags))


class KeptRegion(NewRegion):
    id: Annotated[UUID | None, Field(description="Of one that the set has already and that stays in it.")] = (
        None
    )

    def draft(self) -> Draft:
        return Draft(self.kind, self.start_s, self.end_s, self.name, self.color, tuple(self.tags), self.id)


class NewRegionSet(Request):
    items: Annotated[list[KeptRegion], Field(max_length=MAX_REGIONS)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        ids = [item.id for item in self.items if item.id is not None]
        if len(ids) != len(set(ids)):
            raise ValueError("two regions have the same id")
        return self


class RegionPatch(Request):
    """A merge patch (RFC 7396): what is absent stays, null clears."""

    kind: Kind = RegionKind.REGION
    start_s: Seconds = 0.0
    end_s: Seconds | None = None
    name: Name | None = None
    color: Color | None = None
    tags: Tags = []

    def changes(self) -> RegionChanges:
        changes = RegionChanges()
        given = self.model_fields_set
        if "kind" in given:
            changes["kind"] = self.kind
        if "start_s" in given:
            changes["start"] = self.start_s
        if "end_s" in given:
            changes["end"] = self.end_s
        if "name" in given:
            changes["name"] = self.name
        if "color" in given:
            changes["color"] = self.color
        if "tags" in given:
            changes["tags"] = tuple(self.tags)
        return changes


class Region(Reply):
    id: UUID
    asset_id: UUID
    kind: RegionKind
    start_s: float
    end_s: Annotated[float | None, Field(description="null: a marker or a cue.")]
    name: str | None
    color: str | None
    tags: list[str]
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, region: entities.Region) -> dict[str, Any]:
        return cls(
            id=region.id,
            asset_id=region.asset_id,
            kind=region.kind,
            start_s=region.start,
            end_s=region.end,
            name=region.name,
            color=region.color,
            tags=list(region.tags),
            version=region.version,
            created_at=region.created_at,
            updated_at=region.updated_at,
        ).model_dump(mode="json")


class Regions(Reply):
    """All regions of an asset, in order of time."""

    version: Annotated[int, Field(description="How often the set changed.")]
    items: list[Region]
    next_cursor: None = None

    @classmethod
    def of(cls, found: RegionSet) -> dict[str, Any]:
        return {
            "version": found.version,
            "items": [Region.of(each) for each in found.regions],
            "next_cursor": None,
        }
