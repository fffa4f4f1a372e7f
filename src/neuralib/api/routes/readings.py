"""Notes, as they were written down."""

from neuralib import errors
from neuralib.api import readings
from neuralib.api.schemas.readings import NoteList, NotesQuery
from neuralib.entities import Scope

from .route import IF_NONE_MATCH, JSON, UNCHANGED, V1, Answer, Route

KEPT = ("ETag", "Cache-Control")

ROUTES: tuple[Route, ...] = (
    Route(
        "get_notes",
        "GET",
        f"{V1}/assets/{{asset}}/notes",
        readings.get_notes,
        "The notes of a MIDI asset, or the newest that were heard in a recording.",
        {
            200: Answer("In order of time.", NoteList, JSON, KEPT, also=(readings.CSV,)),
            304: UNCHANGED,
        },
        query=NotesQuery,
        headers=IF_NONE_MATCH,
        problems=(errors.Conflict, errors.AssetEvicted, errors.UnsupportedMidi, errors.StorageUnavailable),
        scope=Scope.READ,
    ),
)
