"""Handlers of /assets/{asset}/notes."""

import csv
import io

from aiohttp import web

from neuralib import readings
from neuralib.entities import Asset

from .calls import Call
from .replies import has_tag, reply
from .schemas.readings import Note, NoteList, NotesQuery

CSV = "text/csv"


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
