"""What every body and every query is made of. openapi.py turns them into JSON Schema; requests are checked against them,
and the tests check every reply.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from neuralib.assets import clean_name

MAX_PAGE = 200


def listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def printable(text: str) -> str:
    if clean_name(text) != text:
        raise ValueError("must be normalised (NFC), without control or direction characters")
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(printable),
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class Request(BaseModel):
    """Of a request: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _open(schema: dict[str, Any]) -> None:
    # Clients must live with members that a later version adds.
    schema.pop("additionalProperties", None)


class Reply(BaseModel):
    """Of a reply."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_open)


class NoQuery(Request):
    """No parameters."""


class PageQuery(Request):
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.")] = None
