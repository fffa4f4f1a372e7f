"""Names of musical keys: `A minor` is how we write what others call Am, a-moll or 8A."""

import re

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "H": 11}
_SIGNS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_NAMED = re.compile(r"([A-H])(#|♯|b|♭)?[\s-]*(major|maj|dur|minor|min|moll|m)?", re.IGNORECASE)
_CAMELOT = re.compile(r"(\d{1,2})([AB])", re.IGNORECASE)
_MINOR = frozenset({"minor", "min", "moll", "m"})


def canonical(text: str) -> str:
    """`A minor` for `Am`, `a min`, `8A`; sharps for flats, and major where nothing is said. Raises ValueError."""
    text = text.strip()
    if found := _CAMELOT.fullmatch(text):
        number, minor = int(found[1]), found[2].upper() == "A"
        if not 1 <= number <= 12:
            raise ValueError(f"{text!r} is not on the Camelot wheel: 1A to 12B")
        return _name(7 * (number - 8) + (9 if minor else 0), minor=minor)
    if (found := _NAMED.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is no key such as A minor, Am or 8A")
    mode = found[3] or ""
    minor = mode != "M" and mode.lower() in _MINOR
    return _name(_STEPS[found[1].upper()] + _SIGNS[(found[2] or "").lower()], minor=minor)


def camelot(key: str) -> str:
    """`8A` for `A minor`. Raises ValueError."""
    note, mode = canonical(key).split()
    minor = mode == "minor"
    fifths = 7 * (_NOTES.index(note) - (9 if minor else 0))
    return f"{(7 + fifths) % 12 + 1}{'A' if minor else 'B'}"


def _name(note: int, *, minor: bool) -> str:
    return f"{_NOTES[note % 12]} {'minor' if minor else 'major'}"
