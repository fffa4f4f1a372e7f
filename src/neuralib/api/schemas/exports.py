"""What goes into an archive."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from neuralib.archives.names import TEMPLATE, check_template
from neuralib.exports import Part, Wanted

from .base import Request, listed

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
