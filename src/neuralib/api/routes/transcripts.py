"""Words, as they were heard and as people made them right."""

from neuralib import errors
from neuralib.api import transcripts
from neuralib.api.schemas.transcripts import Revisions, Transcript, TranscriptPatch, TranscriptQuery
from neuralib.entities import Scope

from .route import (
    IF_MATCH,
    IF_NONE_MATCH,
    JSON,
    MERGE_PATCH,
    UNCHANGED,
    V1,
    Answer,
    Route,
    json_of,
)

ONE = f"{V1}/assets/{{asset}}/transcript"
SET = f"{ONE}/revisions"
KEPT = ("ETag", "Cache-Control")
TEXTS = tuple(sorted({media_type for media_type, _ in transcripts.TEXTS.values()}))
SHOWN = {200: Answer("Lines and words, in seconds.", Transcript, JSON, KEPT, also=TEXTS), 304: UNCHANGED}
UNREAD = (errors.Conflict, errors.AssetEvicted, errors.UnsupportedTranscript, errors.StorageUnavailable)
UNSAVED = (*UNREAD, errors.ValidationFailed, errors.PreconditionFailed, errors.QuotaExceeded)

ROUTES: tuple[Route, ...] = (
    Route(
        "get_transcript",
        "GET",
        ONE,
        transcripts.get_transcript,
        "The words of a transcript, or the newest that were heard in a recording, as they stand now.",
        SHOWN,
        query=TranscriptQuery,
        headers=IF_NONE_MATCH,
        problems=UNREAD,
        scope=Scope.READ,
    ),
    Route(
        "update_transcript",
        "PATCH",
        ONE,
        transcripts.update_transcript,
        "Save the lines as a new revision: texts, times, words, split, joined or left out.",
        {200: json_of(Transcript, "Saved.", *KEPT)},
        body=TranscriptPatch,
        media_types=(MERGE_PATCH, JSON),
        headers=IF_MATCH,
        problems=UNSAVED,
        scope=Scope.WRITE,
    ),
    Route(
        "list_revisions",
        "GET",
        SET,
        transcripts.list_revisions,
        "All revisions that are kept of a transcript, newest first; the last one is the machine's.",
        {200: json_of(Revisions, "As asked.", *KEPT), 304: UNCHANGED},
        headers=IF_NONE_MATCH,
        problems=(errors.Conflict,),
        scope=Scope.READ,
    ),
    Route(
        "get_revision",
        "GET",
        f"{SET}/{{number}}",
        transcripts.get_revision,
        "A transcript as one of its revisions has it.",
        SHOWN,
        query=TranscriptQuery,
        headers=IF_NONE_MATCH,
        problems=UNREAD,
        scope=Scope.READ,
    ),
    Route(
        "restore_revision",
        "POST",
        f"{SET}/{{number}}/restore",
        transcripts.restore_revision,
        "Bring an older revision back, as the newest one.",
        {200: json_of(Transcript, "Restored.", *KEPT)},
        headers=IF_MATCH,
        problems=UNSAVED,
        scope=Scope.WRITE,
    ),
)
