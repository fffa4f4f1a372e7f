"""Use cases of what players load: a sampler kit of the samples, and one MIDI file of all stems, of an asset."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from .archives import manifest, multitrack, sfz
from .archives.multitrack import Source
from .archives.names import Names
from .archives.sfz import Sample
from .archives.stream import Member, Stored, Text, measure
from .assets import split_name
from .db import assets as rows
from .entities import Asset, AssetKind
from .errors import Conflict, NotFound, ValidationFailed
from .exports import lineage
from .packing import LICENSES, Archive, reader
from .services import Services

SAMPLES = "samples/{name}"
MOST_SAMPLES = 2000
MOST_MIDI_BYTES = 8 << 20
"""Of all MIDI files that become one: reading them takes the processor seconds."""
MIDI = "audio/midi"


async def sampler_kit(services: Services, owner: UUID, asset: UUID) -> Archive:
    """An SFZ kit, with its files, of the one-shots that were cut from the asset. Raises NotFound; Conflict when there
    are none; ValidationFailed when there are too many.
    """
    whole, found = await _tree(services, owner, asset)
    hits = [each for each in found if each.role == "sample" and each.kind == AssetKind.AUDIO]
    hits = [each for each in hits if sfz.is_playable(_label(each))]
    if not hits:
        raise Conflict("no one-shots were cut from it: run `slice` first")
    if len(hits) > MOST_SAMPLES:
        raise ValidationFailed(f"a kit may hold {MOST_SAMPLES} samples, these are {len(hits)}")
    async with services.db.statements() as db:
        derivations = await lineage(db, owner, hits)
    names, samples = Names(sfz.FILE, LICENSES), []
    members: list[Member] = []
    for each in hits:
        name, suffix = split_name(each)
        file = names.file(SAMPLES, {"name": sfz.safe_file(name)}, suffix)
        samples.append(Sample(file, _label(each), _group(each)))
        members.append(Stored(file, each.blob.bytes, each.created_at, reader(services, each)))
    now = datetime.now(UTC)
    members += [
        Text(sfz.FILE, sfz.kit(whole.name, samples), now),
        Text(LICENSES, manifest.licenses(derivations), now),
    ]
    return Archive(f"{whole.name} kit.zip", members, measure(members))


async def multitrack_midi(services: Services, owner: UUID, asset: UUID) -> tuple[str, bytes]:
    """(file name, content): the newest notes of each stem on one tempo map. Raises NotFound; Conflict when there are none;
    InputUnsupported, ValidationFailed, StorageUnavailable.
    """
    whole, found = await _tree(services, owner, asset)
    by_id = {each.id: each for each in found}
    newest = {
        each.parent_id: each for each in found if each.kind == AssetKind.MIDI and each.blob.media_type == MIDI
    }
    notes = list(newest.values())
    if not notes:
        raise Conflict("no MIDI was made from it: run `midi` first")
    if sum(each.blob.bytes for each in notes) > MOST_MIDI_BYTES:
        raise ValidationFailed(f"together the MIDI files have more than {MOST_MIDI_BYTES} bytes")
    sources = [
        Source(_part(by_id.get(each.parent_id) if each.parent_id else None), await _content(services, each))
        for each in notes
    ]
    return f"{whole.name}.mid", await asyncio.to_thread(multitrack.merge, sources)


async def _tree(services: Services, owner: UUID, asset: UUID) -> tuple[Asset, Sequence[Asset]]:
    """The asset, and it with everything made from it, oldest first."""
    async with services.db.statements() as db:
        found = await rows.of_ids(db, owner, [asset], tree=True, limit=manifest.MAX_ASSETS)
    whole = next((each for each in found if each.id == asset), None)
    if whole is None:
        raise NotFound(f"there is no asset {asset}")
    return whole, found


async def _content(services: Services, asset: Asset) -> bytes:
    async with aclosing(reader(services, asset)()) as chunks:
        return b"".join([chunk async for chunk in chunks])


def _part(source: Asset | None) -> str:
    """What plays the notes that were heard in it."""
    return (source.stem or source.name) if source is not None else "notes"


def _label(sample: Asset) -> str:
    return str(sample.facts.get("class") or "sample")


def _group(sample: Asset) -> str | None:
    group: Any = sample.facts.get("group")
    return None if group is None else f"{sample.job_id} {group}"
