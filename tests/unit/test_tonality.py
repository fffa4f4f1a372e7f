"""Keys in the words of players and of the Camelot wheel."""

import pytest

from neuralib.tonality import camelot, canonical


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("A minor", "A minor"),
        ("Am", "A minor"),
        ("a min", "A minor"),
        ("8A", "A minor"),
        ("8b", "C major"),
        ("C", "C major"),
        ("CM", "C major"),
        ("Bb", "A# major"),
        ("b♭m", "A# minor"),
        ("F#-moll", "F# minor"),
        ("Cb", "B major"),
        ("1A", "G# minor"),
        ("12B", "E major"),
        ("h dur", "B major"),
    ],
)
def test_a_key_is_understood(said: str, meant: str) -> None:
    assert canonical(said) == meant


@pytest.mark.parametrize("said", ["", "X", "0A", "13B", "A minor 7", "Am Am", "8C", "A\0", "♯"])
def test_what_is_no_key_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        canonical(said)


def test_the_wheel_turns_by_fifths_and_names_every_key_once() -> None:
    wheel = [canonical(f"{n}{side}") for n in range(1, 13) for side in "AB"]
    assert len(set(wheel)) == 24
    assert [camelot(key) for key in wheel] == [f"{n}{side}" for n in range(1, 13) for side in "AB"]
