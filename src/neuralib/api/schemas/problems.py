"""What goes wrong (RFC 9457)."""

from typing import Annotated

from pydantic import Field

from .base import Reply


class WrongField(Reply):
    pointer: Annotated[str, Field(description="RFC 6901, into the request.")]
    code: str
    message: str


class JobError(Reply):
    """Why a job ended as it did: a problem less the members that only HTTP knows."""

    type: str
    code: str
    title: str
    detail: str
    mend: Annotated[str, Field(description="What to do about it.")]
    retryable: bool
    errors: list[WrongField]


class Problem(JobError):
    """RFC 9457."""

    status: int
    instance: str
    request_id: str
