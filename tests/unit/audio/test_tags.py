"""Tags come out under our names from every container, and nothing in them is believed or taken at length."""

import av
import pytest

from neuralib.audio import probe
from neuralib.audio.tags import tags_of

SAID = {
    "title": "Ünser Lied",
    "artist": "The Ärtists",
    "album": "Evening",
    "track": "3/12",
    "date": "1998-05-01",
    "genre": "House",
}
READ = {
    "title": "Ünser Lied",
    "artist": "The Ärtists",
    "album": "Evening",
    "track": 3,
    "year": 1998,
    "genre": "House",
}
MORE = {
    "flac": ({"BPM": "122.5", "INITIALKEY": "Am"}, {"bpm": 122.5, "key": "Am"}),
    "mp3": ({"TBPM": "122", "TKEY": "Am"}, {"bpm": 122.0, "key": "Am"}),
    "opus": ({"bpm": "122.5", "initialkey": "8A"}, {"bpm": 122.5, "key": "8A"}),
    "m4a": ({}, {}),
    "wav": ({}, {}),
}


def tagged(media, name, said):
    """The file with these tags, its packets copied."""
    codec = {
        "flac": ("flac", "flac", "s16"),
        "mp3": ("mp3", "libmp3lame", "fltp"),
        "opus": ("ogg", "libopus", "flt"),
        "m4a": ("ipod", "aac", "fltp"),
        "wav": ("wav", "pcm_s16le", "s16"),
    }[name]
    container, encoder, sample_format = codec
    rate = 48_000 if name == "opus" else 44_100
    plain = media.av(
        f"plain.{name}",
        media.noise(0.3, rate),
        rate,
        container=container,
        codec=encoder,
        sample_format=sample_format,
    )
    path = media.folder / f"tagged.{name}"
    with av.open(str(plain)) as source, av.open(str(path), "w", format=container) as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        file.metadata.update(said)
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    return path


@pytest.mark.parametrize("name", MORE)
async def test_tags_are_read_from_every_container(media, name):
    more, read = MORE[name]
    info = await probe(tagged(media, name, SAID | more))
    assert info.tags == READ | read


async def test_long_lyrics_and_a_large_picture_stay_in_the_file(media):
    song = media.av("song.mp3", media.noise(0.5), container="mp3", codec="libmp3lame").read_bytes()
    frames = [
        b"TIT2" + (3001).to_bytes(4, "big") + b"\0\0\0" + b"t" * 3000,
        b"USLT" + (300_005).to_bytes(4, "big") + b"\0\0\0eng\0" + b"la la\n" * 50_000,
        b"APIC" + (3_000_014).to_bytes(4, "big") + b"\0\0\0image/png\0\3\0\0" + bytes(3_000_000),
    ]
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    info = await probe(media.bytes("tagged.mp3", b"ID3\3\0\0" + size + body + song))
    assert info.tags == {"title": "t" * 200}


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"title": " a\0b\u202e\n c "}, {"title": "ab c"}),
        ({"title": "\u200b", "artist": ""}, {}),
        ({"title": 7, "artist": ["x"]}, {}),
        ({"track": "0", "year": "98", "bpm": "fast"}, {}),
        ({"track": "12345", "year": "20011", "bpm": "1e9"}, {}),
        ({"track": "07 of 9", "year": "05/2001", "bpm": "174,02 BPM"}, {"track": 7, "year": 2001, "bpm": 174.02}),
        ({"bpm": "0", "lyrics": "la la"}, {}),
        ("no tags at all", {}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_left_out(said, read):
    assert tags_of(said) == read
