"""Handlers of /assets/{asset}/transcript and its revisions."""

import hashlib
from collections.abc import Callable, Mapping

from aiohttp import web

from neuralib import transcripts
from neuralib.errors import NotFound
from neuralib.executors.whisper import lyrics, transcript
from neuralib.transcripts import Edition

from .calls import Call
from .replies import has_tag, versioned
from .schemas.transcripts import Revision, Revisions, Transcript, TranscriptPatch, TranscriptQuery

TEXTS: Mapping[str, tuple[str, Callable[[transcript.Transcript], str]]] = {
    "txt": ("text/plain", lyrics.as_txt),
    "srt": ("application/x-subrip", lyrics.as_srt),
    "vtt": ("text/vtt", lyrics.as_vtt),
    "lrc": ("application/x-lrc", lyrics.as_lrc),
    "elrc": ("application/x-lrc", lyrics.as_enhanced_lrc),
}
"""By format: its media type, and what writes it."""


async def get_transcript(call: Call, query: TranscriptQuery) -> web.Response:
    found = await transcripts.current(call.services, call.owner, call.id("asset"))
    return _shown(call, found, query.format)


async def update_transcript(call: Call, body: TranscriptPatch) -> web.Response:
    found = await transcripts.current(call.services, call.owner, call.id("asset"))
    expected = call.expect(found.revision.number)
    if body.segments is not None:
        lines = [each.line() for each in body.segments]
        found = await transcripts.save(call.services, call.owner, found.asset.id, lines, expected=expected)
    return versioned(call, found.revision.number, Transcript.of(found))


async def list_revisions(call: Call) -> web.Response:
    asset, found = await transcripts.revisions(call.services, call.owner, call.id("asset"))
    body = Revisions(asset_id=asset.id, items=[Revision.of(each) for each in found])
    return versioned(call, found[0].number, body.model_dump(mode="json"))


async def get_revision(call: Call, query: TranscriptQuery) -> web.Response:
    found = await transcripts.revision(call.services, call.owner, call.id("asset"), _number(call))
    return _shown(call, found, query.format)


async def restore_revision(call: Call) -> web.Response:
    found = await transcripts.current(call.services, call.owner, call.id("asset"))
    after = await transcripts.restore(
        call.services, call.owner, found.asset.id, _number(call), expected=call.expect(found.revision.number)
    )
    return versioned(call, after.revision.number, Transcript.of(after))


def _number(call: Call) -> int:
    """Raises NotFound."""
    text = call.request.match_info["number"]
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and text[0] != "0"):
        raise NotFound("there is no revision with this number")
    return int(text)


def _shown(call: Call, found: Edition, form: str) -> web.Response:
    """What is newest may change, so it is asked for again."""
    if form == "json":
        return versioned(call, found.revision.number, Transcript.of(found))
    media_type, write = TEXTS[form]
    text = write(found.transcript)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    headers = {"ETag": f'"{found.revision.number}-{digest}"', "Cache-Control": "private, no-cache"}
    if has_tag(call.request.headers.get("If-None-Match"), headers["ETag"]):
        return web.Response(status=304, headers=headers)
    return web.Response(text=text, content_type=media_type, charset="utf-8", headers=headers)
