"""Use case of stem files: a track and the stems of its newest separation in one file."""

from uuid import UUID

from .db import assets as rows
from .db import libraries as library_rows
from .entities import JobInput
from .errors import InputUnsupported
from .executors.stem_file import require_stems
from .jobs import JobRequest
from .services import Services

OPERATION = "stem-file"


async def of_track(
    services: Services, owner: UUID, track: UUID, codec: str, library: UUID | None
) -> JobRequest:
    """The job that writes it, into `library` when one is named. Raises NotFound; InputUnsupported unless the stems are the four that the format has."""
    async with services.db.statements() as db:
        asset = await rows.get(db, owner, track)
        if library is not None:
            await library_rows.get(db, owner, library)
        stems = await rows.newest_stems(db, owner, track)
    if not stems:
        raise InputUnsupported("the track has no stems: separate it first")
    require_stems([stem.stem for stem in stems])
    return JobRequest(
        track,
        operation=OPERATION,
        params={"codec": codec},
        inputs=[JobInput(asset.id), *(JobInput(stem.id, stem.stem) for stem in stems)],
    )
