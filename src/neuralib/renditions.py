"""What is made once from an asset's bytes, at the first request for it: peaks to draw, a light preview to listen to, the
onsets that a slicer may cut at.

Peaks of uploads are there from the start: see assets.py. A request waits `limits.render_wait_s` seconds; the work goes on
without it. Processes do not wait for each other: of two that make the same, the first to commit is kept.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import assets
from .assets import Beside
from .audio import PeaksShape, Recording, decode, probe
from .audio.peaks import Pairs, chosen
from .audio.preview import MEDIA_TYPE, VERSION, encode_preview
from .db import renditions as rows
from .entities import Asset, AssetKind, Rendition
from .errors import (
    AssetEvicted,
    DecodeFailed,
    FieldError,
    Interrupted,
    NotAudio,
    NotFound,
    StorageUnavailable,
    ValidationFailed,
)
from .executors.onsets import VERSION as ONSETS_VERSION
from .executors.onsets import find_onsets, is_silent
from .objects import fetch_file
from .objects.blocks import in_thread
from .services import Services

PREVIEW = f"preview-{VERSION}"
"""What a blob's preview is called among its renditions."""
ONSETS = f"onsets-{ONSETS_VERSION}"
AUTO_POINTS = 4000
"""What `level=auto` gives at most: more than a screen is wide."""
MOST_NUMBERS = 1 << 21
"""In one answer: 4 MiB of 16 bits."""

Render = Callable[[Path, Path], Awaitable[Beside]]
"""Called with the asset's file and a folder for what it makes."""


@dataclass(frozen=True, slots=True)
class View:
    """Which peaks somebody wants. Seconds; `level` is frames a point, None the finest that is not too much."""

    level: int | None = None
    start: float = 0.0
    end: float | None = None
    channels: Literal["mix", "split"] = "mix"


@dataclass(frozen=True, slots=True)
class Waveform:
    """Peaks to draw. The first point begins `start` frames into the recording; the last may end with it."""

    pairs: Pairs
    sample_rate: int
    level: int
    start: int


async def peaks(services: Services, asset: Asset, view: View) -> Waveform | None:
    """None: they are being made. Raises NotAudio, ValidationFailed, StorageUnavailable, TooBusy, DecodeFailed."""
    found = await once(services, asset, assets.PEAKS, lambda file, folder: _draw(services, file, folder))
    return None if found is None else await _waveform(services, found, view)


async def _waveform(services: Services, found: Rendition, view: View) -> Waveform:
    shape = PeaksShape(**found.facts)
    first, last = _span(shape, view)
    level = view.level or shape.level_for(last - first, AUTO_POINTS)
    start, stop = first // level, -(-last // level)
    lanes = shape.channels if view.channels == "split" else 1
    if (stop - start) * lanes * 2 > MOST_NUMBERS:
        detail = (
            f"{stop - start} points are too many for one answer: choose a coarser level or a shorter span"
        )
        raise ValidationFailed(detail, fields=[FieldError("/query/level", "too_many", detail)])
    at = shape.offset(level)
    raw = await _read(services, found.key, at + start * shape.width, at + stop * shape.width)
    return Waveform(chosen(raw, shape, view.channels), shape.sample_rate, level, start * level)


def _span(shape: PeaksShape, view: View) -> tuple[int, int]:
    """The frames [first, last) that are wanted, clipped to the end."""
    first = int(view.start * shape.sample_rate)
    last = shape.frames if view.end is None else min(-int(-view.end * shape.sample_rate // 1), shape.frames)
    if first >= shape.frames:
        detail = f"the recording ends at {shape.frames / shape.sample_rate:.3f} s"
        raise ValidationFailed(detail, fields=[FieldError("/query/start_s", "past_the_end", detail)])
    return first, max(last, first + 1)


async def _draw(services: Services, file: Path, folder: Path) -> Beside:
    info = await probe(file, assets.decode_limits(services.settings.limits), peaks=folder / "peaks")
    return assets.peaks_beside(folder / "peaks", info)


async def preview(services: Services, asset: Asset) -> Rendition | None:
    """A light copy; an mp3 is its own. None: it is being made. Raises what `peaks` raises."""
    if (asset.audio or {}).get("codec") == "mp3" and not asset.blob.evicted:
        blob = asset.blob
        return Rendition(PREVIEW, blob.key, blob.bytes, blob.media_type)
    return await once(services, asset, PREVIEW, lambda file, folder: _lighten(services, file, folder))


async def _lighten(services: Services, file: Path, folder: Path) -> Beside:
    recording, _ = await decode(file, folder / "spool", assets.decode_limits(services.settings.limits))
    await in_thread(encode_preview, recording, folder / "preview.mp3")
    return Beside(PREVIEW, folder / "preview.mp3", MEDIA_TYPE, {})


async def onsets(services: Services, asset: Asset) -> bytes | None:
    """Every onset with the least sensitivity that finds it, as JSON. None: they are being looked for. Raises what `peaks`
    raises.
    """
    found = await once(services, asset, ONSETS, lambda file, folder: _listen(services, file, folder))
    return None if found is None else await _read(services, found.key, 0, found.bytes)


async def _listen(services: Services, file: Path, folder: Path) -> Beside:
    limits = services.settings.limits
    recording, _ = await decode(file, folder / "spool", assets.decode_limits(limits))
    task = asyncio.current_task()

    def tick() -> None:
        if task is not None and task.cancelling():  # the thread hears of it here, and nowhere else
            raise Interrupted

    try:
        async with asyncio.timeout(limits.decode_s):
            await in_thread(_write_onsets, recording, folder / "onsets", tick)
    except TimeoutError as error:
        raise DecodeFailed(f"Looking for onsets took longer than {limits.decode_s:g} s.") from error
    return Beside(ONSETS, folder / "onsets", "application/json", {})


def _write_onsets(recording: Recording, path: Path, tick: Callable[[], None]) -> None:
    """Blocking."""
    found = find_onsets(recording, 1.0, tick)
    starts = [round(time * recording.sample_rate) for time in found.times.tolist()]
    heard = {
        "sample_rate": recording.sample_rate,
        "frames": recording.frames,
        "silent": not starts and is_silent(recording, tick),
        "start_frames": starts,
        "sensitivities": found.sensitivities.tolist(),
    }
    path.write_text(json.dumps(heard, separators=(",", ":")))


# ── once ──────────────────────────────────────────────────────────────────────────────────────────────


async def once(services: Services, asset: Asset, kind: str, render: Render) -> Rendition | None:
    """What is there, or what `render` makes; None when that takes longer than somebody should wait."""
    if asset.kind != AssetKind.AUDIO:
        raise NotAudio(f"asset {asset.id} is of the kind {asset.kind}")
    async with services.db.statements() as db:
        found = await rows.find(db, asset.owner_id, asset.blob.id, kind)
    if found is None and asset.blob.evicted:
        raise AssetEvicted(f"the bytes of asset {asset.id} were let go")
    return found or await services.renders.join(
        (asset.blob.id, kind),
        lambda: _make(services, asset, render),
        services.settings.limits.render_wait_s,
    )


async def _make(services: Services, asset: Asset, render: Render) -> Rendition:
    with assets.scratch(services.settings.worker.scratch) as folder:
        audio = asset.audio or {}
        decoded = int(audio.get("frames", 0)) * int(audio.get("channels", 0)) * 4
        assets.scratch_room(services.settings).require(asset.blob.bytes + decoded)
        await _fetch(services, asset, folder / "input")
        beside = await render(folder / "input", folder)
        return await _keep(services, asset, beside)


async def _fetch(services: Services, asset: Asset, path: Path) -> None:
    try:
        await fetch_file(services.objects, asset.blob.key, path)
    except NotFound as error:
        raise StorageUnavailable(f"the bytes of asset {asset.id} are missing") from error


async def _keep(services: Services, asset: Asset, beside: Beside) -> Rendition:
    """Ours, or that of another process which was faster. Raises NotFound when the asset has gone meanwhile."""
    async with assets.kept_beside(services, [beside]) as made, services.db.transaction() as tx:
        if await rows.insert(tx, asset.owner_id, asset.blob.id, made[0]):
            return made[0]
        found = await rows.find(tx, asset.owner_id, asset.blob.id, beside.kind)
        if found is None:
            raise NotFound(f"there is no asset {asset.id}")
        return found


async def _read(services: Services, key: str, start: int, stop: int) -> bytes:
    try:
        raw = b"".join([chunk async for chunk in services.objects.read(key, start, stop)])
    except NotFound as error:
        raise StorageUnavailable("what was made of the asset is missing") from error
    if len(raw) != stop - start:
        raise StorageUnavailable("what was made of the asset is cut short")
    return raw
