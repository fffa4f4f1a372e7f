"""Owners, keys and sessions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from neuralib import entities, identity
from neuralib.api.auth import Principal
from neuralib.config import Limits
from neuralib.entities import Scope

from .base import Name, Reply, Request


def _within_a_century(at: datetime | None) -> datetime | None:
    if at is not None and not 0 < at.year - datetime.now(UTC).year + 1 <= 100:
        raise ValueError("must lie in the coming hundred years")
    return at


class NewKey(Request):
    name: Name
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset(identity.DEFAULT_SCOPES)
    expires_at: Annotated[
        AwareDatetime | None, AfterValidator(_within_a_century), Field(description="Default: never.")
    ] = None


class Key(Reply):
    """A key as it can be seen later: all but the secret."""

    id: UUID
    name: str
    prefix: Annotated[str, Field(description="How the key begins.")]
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="To the minute.")]

    @classmethod
    def of(cls, key: entities.Credential) -> dict[str, Any]:
        return cls.model_validate(_key_members(key)).model_dump(mode="json")


class NewKeyReply(Key):
    key: Annotated[str, Field(description="The secret: shown this once and kept nowhere.")]

    @classmethod
    def of_secret(cls, secret: str, key: entities.Credential) -> dict[str, Any]:
        return cls.model_validate({"key": secret, **_key_members(key)}).model_dump(mode="json")


def _key_members(key: entities.Credential) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }


class KeyPage(Reply):
    items: list[Key]
    next_cursor: str | None


class Session(Reply):
    """What the cookie is good for."""

    scopes: list[Scope]
    expires_at: datetime

    @classmethod
    def of(cls, session: entities.Credential) -> dict[str, Any]:
        return cls.model_validate(
            {"scopes": sorted(session.scopes), "expires_at": session.expires_at}
        ).model_dump(mode="json")


class OwnerInfo(Reply):
    id: UUID
    issuer: Annotated[str, Field(description="Who vouches for the subject; empty: this installation.")]
    subject: str
    created_at: datetime


class Access(Reply):
    """What the caller's credentials are."""

    by: Literal["nothing", "token", "key", "oidc", "session"]
    scopes: list[Scope]
    key_id: Annotated[UUID | None, Field(description="Of the key, or of the session.")]
    expires_at: datetime | None


class OwnLimits(Reply):
    storage_bytes: Annotated[int | None, Field(description="null: no quota.")]
    upload_bytes: int
    streams: int
    jobs: int


class Usage(Reply):
    storage_bytes: int
    jobs_active: Annotated[int, Field(description="Waiting or running.")]


class Me(Reply):
    owner: OwnerInfo
    access: Access
    limits: OwnLimits
    usage: Usage

    @classmethod
    def of(
        cls, principal: Principal, owner: entities.Owner, usage: Mapping[str, int], limits: Limits
    ) -> dict[str, Any]:
        return cls(
            owner=OwnerInfo(
                id=owner.id, issuer=owner.issuer, subject=owner.subject, created_at=owner.created_at
            ),
            access=Access(
                by=principal.by,
                scopes=sorted(principal.scopes),
                key_id=principal.credential,
                expires_at=principal.expires_at,
            ),
            limits=OwnLimits(
                storage_bytes=limits.storage_bytes_per_owner or None,
                upload_bytes=limits.upload_bytes,
                streams=limits.streams_per_owner,
                jobs=limits.jobs_per_owner,
            ),
            usage=Usage(**usage),
        ).model_dump(mode="json")
