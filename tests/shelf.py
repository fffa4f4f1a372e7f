"""Small recordings, and shelves of rows without bytes."""

import io
import wave
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np

from neuralib.db import assets as rows
from neuralib.entities import Blob, NewAsset, new_id
from neuralib.services import Services


def tone(seconds: float = 0.2, hz: float = 440.0) -> bytes:
    """A 16-bit mono wav."""
    samples = 12000 * np.sin(2 * np.pi * hz * np.arange(round(8000 * seconds)) / 8000)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def audio(seconds: float) -> dict[str, Any]:
    """What is said of a recording that long."""
    form = {"format": "wav", "codec": "pcm_s16le", "subtype": "pcm_16", "sample_rate": 8000, "channels": 1}
    return {**form, "frames": round(8000 * seconds), "duration_s": seconds}


async def put(
    services: Services, owner: UUID, library: UUID, *, analysed: Mapping[str, Any] | None = None, **new: Any
) -> UUID:
    """An asset without bytes; `analysed` is what listening found: bpm and musical_key."""
    id_ = new_id()
    blob = Blob(new_id(), id_.hex * 2, 10, f"shelf/{id_}", "audio/wav")
    given = {"kind": "audio", "role": "track", "name": "untitled", **new}
    async with services.db.transaction() as tx:
        await rows.insert(tx, owner, NewAsset(id=id_, library_id=library, **given), blob)
        for column, value in (analysed or {}).items():
            await tx.raw.execute(f"update assets set {column} = $2 where id = $1", id_, value)
    return id_
