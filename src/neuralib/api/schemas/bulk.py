"""Many assets at once."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from .assets import Rating, Tags
from .base import Color, Reply, Request


class BulkChange(Request):
    """All of them, or none."""

    asset_ids: Annotated[
        list[UUID],
        Field(min_length=1, max_length=500),
        AfterValidator(lambda ids: list(dict.fromkeys(ids))),
    ]
    op: Annotated[
        Literal["set", "move", "copy", "trash", "restore"],
        Field(
            description="`set` what is said of them; `move` or `copy` them, with all made from them, into `library_id`."
        ),
    ]
    library_id: UUID | None = None
    add_tags: Tags = []
    remove_tags: Tags = []
    rating: Rating | None = None
    favorite: bool | None = None
    color: Color | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.op in {"move", "copy"}) != (self.library_id is not None):
            raise ValueError("library_id is for move and copy, which need it")
        said = self.model_fields_set & {"add_tags", "remove_tags", "rating", "favorite", "color"}
        if (self.op == "set") != bool(said):
            raise ValueError("tags, rating, favorite and color are for set, which needs one of them")
        return self


class BulkResult(Reply):
    """What was changed; of `copy` the copies, in the order of `asset_ids`."""

    asset_ids: list[UUID]
