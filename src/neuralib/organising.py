"""Use cases of order: what people say of their assets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from .db import assets as rows
from .db import events as event_rows
from .entities import Asset, AssetKind, Facts
from .errors import FieldError, PreconditionFailed, ValidationFailed
from .pipeline import asset_event
from .services import Services

MAX_METADATA = 32768
MAX_TAGS = 64
MAX_SUNG = 400_000
"""Bytes of a transcript that are searched."""


class AssetChanges(TypedDict, total=False):
    """What may change of an asset; what is left out stays as it is. `metadata` is a merge patch of the old one, None
    clears it.
    """

    name: str
    tags: Sequence[str]
    rating: int | None
    favorite: bool
    color: str | None
    notes: str
    role: str
    stem: str | None
    metadata: Facts | None


async def update(
    services: Services,
    owner: UUID,
    asset: UUID,
    changes: AssetChanges,
    *,
    expected_version: int | None = None,
) -> Asset:
    """What changes nothing leaves the version as it is. Raises NotFound, ValidationFailed; PreconditionFailed when the
    asset is not at `expected_version` any more.
    """
    async with services.db.transaction() as tx:
        version = await rows.lock(tx, owner, asset)
        if expected_version not in {None, version}:
            raise PreconditionFailed(f"asset {asset} changed meanwhile")
        before = await rows.get(tx, owner, asset)
        after = changed(before, changes)
        if told := _differing(before, after):
            await rows.update(tx, after)
            after = await rows.get(tx, owner, asset)
            await event_rows.append(tx, asset_event("updated", after, changed=told))
    if told:
        await services.bus.wake(owner)
    return after


def sung(kind: str, media_type: str, path: Path) -> str:
    """What a file is found by besides its name. Of the forms of a transcript only the plain one, or each song would be
    found as often as it has forms.
    """
    if kind != AssetKind.TRANSCRIPT or not media_type.startswith("text/plain"):
        return ""
    with path.open("rb") as file:
        return file.read(MAX_SUNG).decode(errors="replace")


def changed(before: Asset, changes: AssetChanges) -> Asset:
    """The asset after the changes. Raises ValidationFailed for what does not fit its kind."""
    told: dict[str, Any] = dict(changes)
    if "metadata" in changes:
        told["metadata"] = _merged(before.metadata, changes["metadata"] or {}) if changes["metadata"] else {}
    if before.kind != AssetKind.AUDIO and ("role" in changes or changes.get("stem")):
        raise _wrong("/role" if "role" in changes else "/stem", "only audio has it to choose")
    after = replace(before, **told)
    if after.role != "stem" and changes.get("stem"):
        raise _wrong("/stem", "only what has the role stem is one")
    if len(str(after.metadata)) > MAX_METADATA:
        raise _wrong("/metadata", "is too large with what is there already")
    return after if after.role == "stem" else replace(after, stem=None)


def _merged(before: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, Mapping):
        return patch
    kept = {**before} if isinstance(before, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = _merged(kept.get(name), value)
    return kept


def _differing(before: Asset, after: Asset) -> list[str]:
    return [name for name in AssetChanges.__annotations__ if _plain(before, name) != _plain(after, name)]


def _plain(asset: Asset, name: str) -> Any:
    value = getattr(asset, name)
    return list(value) if name == "tags" else value


def _wrong(pointer: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{pointer}: {message}", fields=[FieldError(pointer, "unfit", message)])
