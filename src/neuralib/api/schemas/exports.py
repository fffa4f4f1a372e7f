"""What goes into an archive, and what came out of one."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, model_validator

from neuralib import entities
from neuralib.archives.names import TEMPLATE, check_template
from neuralib.imports import Restored
from neuralib.packing import Part, Wanted

from .base import Reply, Request, listed

Include = Annotated[
    frozenset[Part],
    Field(
        min_length=1, description="What to put in. `manifest` is what a restore reads: see POST …/imports."
    ),
]
Template = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(check_template),
    Field(
        description="How files are called, folders too: {track}, {name}, {stem}, {role} and {kind} are filled in."
    ),
]


class ArchiveQuery(Request):
    include: Annotated[Include, BeforeValidator(listed)] = frozenset(Part)
    name_template: Template = TEMPLATE

    def wanted(self) -> Wanted:
        return Wanted(self.include, self.name_template)


class NewExport(Request):
    """A library, or some assets, or both; of which files, under which names."""

    library_id: UUID | None = None
    asset_ids: Annotated[list[UUID], Field(max_length=1000)] = []
    tree: Annotated[bool, Field(description="Of `asset_ids`: with everything that was made from them.")] = (
        True
    )
    include: Include = frozenset(Part)
    name_template: Template = TEMPLATE

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.library_id is None and not self.asset_ids:
            raise ValueError("name a library_id, or asset_ids")
        return self


class ExportUrls(Reply):
    content: str


class Export(Reply):
    id: UUID
    library_id: UUID | None
    asset_ids: list[UUID]
    tree: bool
    include: list[str]
    name_template: str
    urls: ExportUrls
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, export: entities.Export) -> dict[str, Any]:
        assert export.created_at is not None
        assert export.expires_at is not None
        return cls(
            id=export.id,
            library_id=export.library_id,
            asset_ids=list(export.asset_ids),
            tree=export.tree,
            include=list(export.include),
            name_template=export.name_template,
            urls=ExportUrls(content=f"/api/v1/exports/{export.id}/content"),
            created_at=export.created_at,
            expires_at=export.expires_at,
        ).model_dump(mode="json")


class ImportForm(BaseModel):
    """multipart/form-data: one `file` part."""

    file: Annotated[bytes, Field(description="A zip that was exported with its manifest.")]


class ImportedAsset(Reply):
    """What became of one asset of the archive. `left-out`: its bytes are not in it."""

    source_id: Annotated[UUID, Field(description="Its id where it was exported.")]
    asset_id: UUID | None
    outcome: Literal["restored", "duplicate", "left-out"]


class ImportResult(Reply):
    library_id: UUID
    restored: int
    duplicates: Annotated[
        int, Field(description="Assets that were there: from this archive, or its originals.")
    ]
    left_out: int
    derivations: Annotated[int, Field(description="Jobs that came with them, as history.")]
    items: list[ImportedAsset]

    @classmethod
    def of(cls, library: UUID, restored: Restored) -> dict[str, Any]:
        made = [ImportedAsset(source_id=o, asset_id=i, outcome="restored") for o, i in restored.made.items()]
        there = [
            ImportedAsset(source_id=o, asset_id=i, outcome="duplicate") for o, i in restored.there.items()
        ]
        rest = [ImportedAsset(source_id=o, asset_id=None, outcome="left-out") for o in restored.left_out]
        return cls(
            library_id=library,
            restored=len(made),
            duplicates=len(there),
            left_out=len(rest),
            derivations=restored.derivations,
            items=[*made, *there, *rest],
        ).model_dump(mode="json")
