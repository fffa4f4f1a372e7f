"""What somebody made of a transcript, in each form that the machine's words were written in."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from neuralib.entities import Asset, AssetKind
from neuralib.executors.whisper import lyrics
from neuralib.executors.whisper.document import read_transcript
from neuralib.executors.whisper.transcript import Transcript

WRITERS: Mapping[str, Callable[[Transcript], str]] = {
    "text/plain": lyrics.as_txt,
    "application/x-subrip": lyrics.as_srt,
    "text/vtt": lyrics.as_vtt,
    "application/x-lrc": lyrics.as_lrc,
}
ENHANCED = ".enhanced.lrc"


def editions(found: Sequence[Asset], documents: Mapping[UUID, str]) -> dict[UUID, bytes]:
    """By asset what it would hold if the machine had heard what the newest revision says: the transcripts themselves, and
    the other forms that were written beside them. `documents` are the revisions' JSON.
    """
    there = {asset.id: asset for asset in found}
    texts = {id_: document.encode() for id_, document in documents.items() if id_ in there}
    heard = {
        there[id_].job_id: read_transcript(document) for id_, document in texts.items() if there[id_].job_id
    }
    for asset in found:
        if asset.kind == AssetKind.TRANSCRIPT and asset.job_id in heard and asset.id not in texts:
            write = _writer(asset)
            if write is not None:
                texts[asset.id] = write(heard[asset.job_id]).encode()
    return texts


def _writer(asset: Asset) -> Callable[[Transcript], str] | None:
    if str(asset.facts.get("file", "")).endswith(ENHANCED):
        return lyrics.as_enhanced_lrc
    return WRITERS.get(asset.blob.media_type.partition(";")[0])
