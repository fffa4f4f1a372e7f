"""Notes and words, as they were written down."""

from neuralib import errors
from neuralib.api import readings
from neuralib.api.schemas.readings import NoteList, NotesQuery, Transcript, TranscriptQuery
from neuralib.entities import Scope

from .route import IF_NONE_MATCH, JSON, UNCHANGED, V1, Answer, Route

KEPT = ("ETag", "Cache-Control")
TEXTS = tuple(sorted({media_type for media_type, _ in readings.TEXTS.values()}))

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
        problems=(errors.Conflict, errors.UnsupportedMidi, errors.StorageUnavailable),
        scope=Scope.READ,
    ),
    Route(
        "get_transcript",
        "GET",
        f"{V1}/assets/{{asset}}/transcript",
        readings.get_transcript,
        "The words of a transcript, or the newest that were heard in a recording.",
        {
            200: Answer("Lines and words, in seconds.", Transcript, JSON, KEPT, also=TEXTS),
            304: UNCHANGED,
        },
        query=TranscriptQuery,
        headers=IF_NONE_MATCH,
        problems=(errors.Conflict, errors.UnsupportedTranscript, errors.StorageUnavailable),
        scope=Scope.READ,
    ),
)
