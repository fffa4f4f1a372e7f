"""Use case of mixes: a track without its vocals, or with its stems at other levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from .db import assets as rows
from .entities import Asset, JobInput
from .errors import FieldError, ValidationFailed
from .jobs import JobRequest
from .services import Services

OPERATION = "mix"


@dataclass(frozen=True, slots=True)
class Levels:
    """What is to become of a track's stems. `gains_db` by stem: None mutes; what is not named stays as it is."""

    gains_db: Mapping[str, float | None] = field(default_factory=dict)
    normalize: str = "none"
    name: str | None = None


async def of_stems(services: Services, owner: UUID, track: UUID, levels: Levels) -> JobRequest:
    """The job that mixes the stems of the track's newest separation: those that its newest stem was made with, as far as
    they are there. A track without stems is the only part of its mix. The track is the first input, so that the mix has
    its sample rate and sample format, and is its child.

    Raises NotFound; ValidationFailed for a stem that there is not.
    """
    async with services.db.statements() as db:
        asset = await rows.get(db, owner, track)
        stems = await rows.newest_stems(db, owner, track)
    _require(levels, stems)
    return JobRequest(
        track,
        operation=OPERATION,
        params=_params(levels, stems),
        inputs=[JobInput(asset.id), *(JobInput(stem.id, stem.stem) for stem in stems)] if stems else (),
    )


def _require(levels: Levels, stems: Sequence[Asset]) -> None:
    there = [stem.stem for stem in stems]
    missing = [name for name in levels.gains_db if name not in there]
    if missing:
        known = ", ".join(map(str, there)) or "none: separate it first"
        message = f"the track has no stem {missing[0]!r}; it has {known}"
        fields = [FieldError(f"/gains_db/{name}", "unknown", message) for name in missing]
        raise ValidationFailed(message, fields=fields)


def _params(levels: Levels, stems: Sequence[Asset]) -> dict[str, Any]:
    tracks = [
        {"input": stem.stem, "gain_db": levels.gains_db.get(str(stem.stem), 0.0) or 0.0}
        | ({"mute": True} if levels.gains_db.get(str(stem.stem), 0.0) is None else {})
        for stem in stems
    ]
    return {"tracks": tracks, "normalize": levels.normalize, "name": levels.name or _name(levels)}


def _name(levels: Levels) -> str:
    """Of a mix that lacks something and is otherwise as it was: what it lacks."""
    without = [name for name, gain in levels.gains_db.items() if gain is None]
    if not without or any(levels.gains_db.values()):
        return "mix"
    return f"without {', '.join(without)}"[:64].rstrip(" ,")
