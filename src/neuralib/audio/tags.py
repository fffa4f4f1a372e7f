"""What a file says of itself: title, artist, tempo and the like, as the decoder found it in whatever the container has.

FFmpeg reads the tags (in the confined child, like all that comes from outside): mutagen would know more of them, but is
under the GPL, which this package is not. Pictures and lyrics are left in the file.
"""

import re
from collections.abc import Callable, Mapping
from unicodedata import category, normalize

Tags = Mapping[str, str | int | float]
"""title, artist, album, album_artist, genre, key (text of at most 200 characters), track, year (int), bpm (float); those
that are there and make sense."""

_LONGEST = 200


def tags_of(said: object) -> dict[str, str | int | float]:
    """The child's word as tags; what makes no sense is left out."""
    if not isinstance(said, Mapping):
        return {}
    found = {}
    for name, read in _READERS.items():
        text = said.get(name)
        value = read(_clean(text)) if isinstance(text, str) else None
        if value:
            found[name] = value
    return found


def _clean(text: str) -> str:
    """NFC, in one line, without control and bidirectional characters."""
    line = " ".join(normalize("NFC", text).split())
    return "".join(c for c in line if not category(c).startswith("C"))[:_LONGEST].strip()


def _text(text: str) -> str:
    return text


def _number(text: str) -> int | None:
    """`3` and `3/12`."""
    found = re.match(r"\d{1,4}(?!\d)", text, re.ASCII)
    return int(found[0]) if found else None


def _year(text: str) -> int | None:
    """`1998`, `1998-05-01`, `05/1998`."""
    found = re.search(r"(?<!\d)[12]\d{3}(?!\d)", text, re.ASCII)
    return int(found[0]) if found else None


def _tempo(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,3}(?:[.,]\d{1,6})?)(?: ?bpm)?", text.lower(), re.ASCII)
    return float(found[1].replace(",", ".")) if found else None


_READERS: Mapping[str, Callable[[str], str | int | float | None]] = {
    "title": _text,
    "artist": _text,
    "album": _text,
    "album_artist": _text,
    "track": _number,
    "year": _year,
    "genre": _text,
    "bpm": _tempo,
    "key": _text,
}
