"""What goes into an archive, and what came out of one."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from neuralib.archives.names import TEMPLATE, check_template
from neuralib.exports import Part, Wanted
from neuralib.imports import Restored

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
