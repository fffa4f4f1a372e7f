"""The bytes of an asset, and links to them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from .base import Reply, Request

Variant = Annotated[
    Literal["original", "preview"],
    Field(description="`preview`: a light mp3 of it, made at the first request for it."),
]


class ContentQuery(Request):
    download: Annotated[bool, Field(description="Ask the browser to save it as a file.")] = False
    variant: Variant = "original"
    redirect: Annotated[
        bool,
        Field(
            description="Answer 302 to a signed URL of the object store, if clients reach it; else the bytes."
        ),
    ] = False


class NewLink(Request):
    ttl_s: Annotated[int, Field(ge=1, le=900)] = 900
    variant: Variant = "original"
    disposition: Literal["inline", "attachment"] = "inline"


class ContentLink(Reply):
    """`signed`: it opens without credentials until `expires_at`. Else it is our own route, which asks for them."""

    url: str
    signed: bool
    expires_at: datetime | None
