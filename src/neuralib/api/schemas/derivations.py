"""What was made from what."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from neuralib import entities

from .assets import DerivedFrom
from .base import Reply, Request


class LineageQuery(Request):
    format: Annotated[Literal["json", "dot"], Field(description="dot: for Graphviz.")] = "json"


class LineageAsset(Reply):
    id: UUID
    library_id: UUID
    kind: str
    role: str
    stem: str | None
    name: str
    status: Literal["ready", "evicted"]
    derived_from: DerivedFrom | None


class LineageLink(Reply):
    source: UUID
    target: UUID
    job_id: Annotated[
        UUID | None, Field(description="Made `target` from `source`; null: it was put under it.")
    ]


class Lineage(Reply):
    asset_id: UUID
    assets: Annotated[
        list[LineageAsset], Field(description="The asset, what it was made from, and what was made from it.")
    ]
    links: list[LineageLink]
    truncated: Annotated[
        bool, Field(description="There is more than 32 steps or 500 assets each way: the nearest are here.")
    ]

    @classmethod
    def of(cls, lineage: entities.Lineage) -> dict[str, Any]:
        return cls(
            asset_id=lineage.asset_id,
            assets=[
                LineageAsset(
                    id=each.asset_id,
                    library_id=each.library_id,
                    kind=each.kind,
                    role=each.role,
                    stem=each.stem,
                    name=each.name,
                    status="evicted" if each.evicted else "ready",
                    derived_from=DerivedFrom.of(each),
                )
                for each in lineage.assets
            ],
            links=[LineageLink(source=x.source, target=x.target, job_id=x.job_id) for x in lineage.links],
            truncated=lineage.truncated,
        ).model_dump(mode="json")
