"""Handlers of /assets/{asset}/notes and /assets/{asset}/transcript."""

import csv
import io
from collections.abc import Callable, Mapping

from aiohttp import web

from neuralib import readings
from neuralib.entities import Asset
from neuralib.executors.whisper import lyrics, transcript

from .calls import Call
from .replies import has_tag, reply
from .schemas.readings import Line, Note, NoteList, NotesQuery, TimedWord, Transcript, TranscriptQuery

CSV = "text/csv"
TEXTS: Mapping[str, tuple[str, Callable[[transcript.Transcript], str]]] = {
    "txt": ("text/plain", lyrics.as_txt),
    "srt": ("application/x-subrip", lyrics.as_srt),
    "vtt": ("text/vtt", lyrics.as_vtt),
    "lrc": ("application/x-lrc", lyrics.as_lrc),
    "elrc": ("application/x-lrc", lyrics.as_enhanced_lrc),
}
"""By format: its media type, and what writes it."""


async def get_notes(call: Call, query: NotesQuery) -> web.Response:
    """Raises NotFound, Conflict, UnsupportedMidi, StorageUnavailable."""
    asset = await readings.find_notes(call.services, call.owner, call.id("asset"))
    headers = _headers(asset, query.format)
    if has_tag(call.request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    found = await readings.notes(call.services, asset)
    if query.format == "csv":
        return web.Response(text=_table(found), content_type=CSV, charset="utf-8", headers=headers)
    notes = [
        Note(
            start_s=note.start,
            end_s=note.end,
            pitch=note.pitch,
            velocity=note.velocity,
            bend=None if note.bend is None else list(note.bend),
        )
        for note in found.notes
    ]
    body = NoteList(asset_id=asset.id, tempo=found.tempo, notes=notes)
    return reply(body.model_dump(mode="json"), headers=headers)


async def get_transcript(call: Call, query: TranscriptQuery) -> web.Response:
    """Raises NotFound, Conflict, UnsupportedTranscript, StorageUnavailable."""
    asset = await readings.find_transcript(call.services, call.owner, call.id("asset"))
    headers = _headers(asset, query.format)
    if has_tag(call.request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    found = await readings.transcript(call.services, asset)
    if query.format != "json":
        media_type, write = TEXTS[query.format]
        return web.Response(text=write(found), content_type=media_type, charset="utf-8", headers=headers)
    body = Transcript(
        asset_id=asset.id,
        language=found.language,
        duration_s=found.duration,
        text=found.text,
        segments=[_line(segment) for segment in found.segments],
    )
    return reply(body.model_dump(mode="json"), headers=headers)


def _headers(asset: Asset, form: str) -> dict[str, str]:
    """What is newest may change, so it is asked for again; the bytes it was read from do not."""
    return {"ETag": f'"{asset.blob.sha256}-{asset.id.hex}-{form}"', "Cache-Control": "private, no-cache"}


def _table(found: readings.Notes) -> str:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["start_s", "end_s", "pitch", "velocity"])
    rows.writerows(
        [round(note.start, 6), round(note.end, 6), note.pitch, note.velocity] for note in found.notes
    )
    return out.getvalue()


def _line(segment: transcript.Segment) -> Line:
    words = [
        TimedWord(text=word.text.strip(), start_s=word.start, end_s=word.end, probability=word.probability)
        for word in segment.words
    ]
    return Line(text=segment.text.strip(), start_s=segment.start, end_s=segment.end, words=words)
