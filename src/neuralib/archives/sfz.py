"""A sampler kit in SFZ: one-shots on the keys where General MIDI has drums, loops left out.

Near-identical hits (one `group`) take turns on one key; other hits of the same class go to the class's further keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

FILE = "kit.sfz"
KEYS: Mapping[str, tuple[int, ...]] = {
    "kick": (36, 35),
    "snare": (38, 40, 37),
    "clap": (39,),
    "hat": (42, 44, 46),
    "tom": (45, 47, 48, 50, 43, 41),
    "cymbal": (49, 51, 57, 52, 55, 59, 53),
    "percussion": (54, 56, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 75, 76, 77),
}
"""By class, in the order in which they are given out (General MIDI, level 1 percussion)."""
FREE = (*range(84, 128), *range(83, -1, -1))
"""For everything else, as far as no class has them."""
CHOKED = "hat"
"""The class of which each hit ends the one before, as a closing hi-hat does."""
LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of the kit. `label` is its class; samples of one `group` sound alike."""

    file: str
    label: str
    group: str | None = None


def is_playable(label: str) -> bool:
    """Whether a class goes on a key: a loop has a tempo of its own."""
    return word(label) != LOOP


def word(label: str) -> str:
    """A class in the spelling of KEYS."""
    return re.sub(r"[\s_]+", "-", label.strip().lower())


def safe_file(name: str) -> str:
    """A name that SFZ does not take for an opcode, a macro or a comment."""
    return re.sub(r"[=$#]|//", "_", name)


def kit(name: str, samples: Sequence[Sample]) -> bytes:
    """The text of the kit; samples are played from their paths beside it."""
    title = re.sub(r"[^\w .,()-]", "_", name)
    lines = [f"// {title}", "<global>", "loop_mode=one_shot pitch_keytrack=0 amp_veltrack=80"]
    for key, label, turns in _keyed(samples):
        choke = " group=1 off_by=1" if label == CHOKED else ""
        lines += [
            "",
            f"<group> // {re.sub(r'[^a-z0-9 -]', '_', label)}",
            f"key={key} seq_length={len(turns)}{choke}",
        ]
        lines += [f"<region> seq_position={place} sample={turn.file}" for place, turn in enumerate(turns, 1)]
    return ("\n".join(lines) + "\n").encode()


def _keyed(samples: Sequence[Sample]) -> Iterator[tuple[int, str, list[Sample]]]:
    """(key, class, who takes turns on it). When all keys are taken, what is left takes turns with what has one."""
    hits: dict[tuple[str, str], list[Sample]] = {}
    for place, sample in enumerate(samples):
        hits.setdefault((word(sample.label), sample.group or f"#{place}"), []).append(sample)
    placed: dict[int, tuple[str, list[Sample]]] = {}
    for (label, _), turns in hits.items():
        key = next((key for key in _keys(label) if key not in placed), None)
        if key is None:
            key = next((key for key, (other, _) in placed.items() if other == label), min(placed))
        placed.setdefault(key, (label, []))[1].extend(turns)
    for key in sorted(placed):
        yield key, *placed[key]


def _keys(label: str) -> Iterator[int]:
    yield from KEYS.get(label, ())
    given = {key for keys in KEYS.values() for key in keys}
    yield from (key for key in FREE if key not in given)
