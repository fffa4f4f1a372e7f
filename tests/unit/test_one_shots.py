"""What slices are said to be, and which of them are said to be alike, on sounds made here: a drummer of our own."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from neuralib.audio import Recording, RecordingWriter
from neuralib.executors import Output, RunContext
from neuralib.executors.slicer import SliceParams, Slicer
from neuralib.executors.slicer.classes import CLASSES, Verdict, classifier
from neuralib.executors.slicer.features import features_of
from neuralib.executors.slicer.hearing import RATE, Ear, listen
from neuralib.executors.slicer.likeness import groups_of, picture_of

Audio = NDArray[np.float64]
Rng = np.random.Generator
SPEECH = Path(__file__).parents[1] / "data" / "speech.ogg"
N = 12
"""Of each kind."""


def time(seconds: float) -> Audio:
    return np.arange(round(seconds * RATE)) / RATE


def high(sound: Audio, times: int = 1) -> Audio:
    """Differences: 6 dB an octave each time."""
    for _ in range(times):
        sound = np.diff(sound, prepend=0.0)
    return sound / (np.abs(sound).max() + 1e-9)


def low(sound: Audio, width: int) -> Audio:
    return np.convolve(sound, np.ones(width) / width)[: len(sound)]


def kick(rng: Rng) -> Audio:
    t = time(rng.uniform(0.2, 0.6))
    turns = rng.uniform(42, 60) * t + rng.uniform(1, 4) * (1 - np.exp(-t / 0.02))
    return np.sin(2 * np.pi * turns) * np.exp(-t / rng.uniform(0.06, 0.15))


def snare(rng: Rng) -> Audio:
    t = time(rng.uniform(0.15, 0.35))
    drum = np.sin(2 * np.pi * rng.uniform(170, 230) * t) * np.exp(-t / 0.04)
    return 0.5 * drum + high(rng.standard_normal(len(t))) * np.exp(-t / rng.uniform(0.04, 0.08))


def hat(rng: Rng) -> Audio:
    t = time(rng.uniform(0.05, 0.1))
    return high(rng.standard_normal(len(t)), 4) * np.exp(-t / rng.uniform(0.01, 0.02))


def clap(rng: Rng) -> Audio:
    t = time(0.3)
    noise = high(low(rng.standard_normal(len(t)), 12), 1)
    hands = sum(np.where(t >= at, np.exp(-np.maximum(t - at, 0) / 0.004), 0) for at in (0, 0.011, 0.022))
    return noise * (
        hands + np.where(t >= 0.033, np.exp(-np.maximum(t - 0.033, 0) / rng.uniform(0.03, 0.06)), 0)
    )


def tom(rng: Rng) -> Audio:
    t = time(rng.uniform(0.4, 0.8))
    base = rng.uniform(90, 180)
    turns = base * t + base * 0.01 * (1 - np.exp(-t / 0.05))
    skin = low(rng.standard_normal(len(t)), 6) * np.exp(-t / 0.01) * 0.1
    return (np.sin(2 * np.pi * turns) + 0.25 * np.sin(2 * np.pi * turns * 1.59)) * np.exp(-t / 0.15) + skin


def cymbal(rng: Rng) -> Audio:
    t = time(rng.uniform(1.5, 3))
    return high(rng.standard_normal(len(t)), 2) * np.exp(-t / rng.uniform(0.4, 0.8))


def tonal(rng: Rng) -> Audio:
    t = time(rng.uniform(0.6, 1.2))
    hertz = 110 * 2 ** (rng.integers(0, 25) / 12)
    return sum(np.sin(2 * np.pi * hertz * n * t) / n * np.exp(-t * n) for n in range(1, 9)) * np.exp(-t / 0.4)


def vocal(rng: Rng) -> Audio:
    speech, rate = soundfile.read(SPEECH, dtype="float64")
    start = rng.integers(0, len(speech) - rate)
    found = speech[start : start + round(rng.uniform(0.35, 0.8) * rate)]
    return np.interp(np.arange(0, len(found) - 1, rate / RATE), np.arange(len(found)), found)


def loop(rng: Rng) -> Audio:
    step = rng.uniform(0.11, 0.16)
    out = np.zeros(round(16.5 * step * RATE))
    for i in range(16):
        for voice, plays in ((kick, i % 8 in {0, 3}), (snare, i % 8 == 4), (hat, True)):
            if plays:
                start = round(i * step * RATE)
                sound = voice(rng)[: len(out) - start]
                out[start : start + len(sound)] += sound * 0.5
    return out


KINDS: dict[str, Callable[[Rng], Audio]] = {
    "kick": kick, "snare": snare, "hat": hat, "clap": clap, "tom": tom, "cymbal": cymbal, "tonal": tonal,
    "vocal": vocal, "loop": loop,
}  # fmt: skip


def verdict(sound: Audio) -> Verdict:
    heard = listen(sound[: 4 * RATE], len(sound) / RATE)
    assert heard is not None
    return classifier().classify(features_of(heard))


@pytest.fixture(scope="module")
def said() -> dict[str, Counter[str | None]]:
    rng = np.random.default_rng(5)
    return {name: Counter(verdict(make(rng)).name for _ in range(N)) for name, make in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_most_of_every_kind_are_called_what_they_are(said: dict[str, Counter[str | None]], name: str) -> None:
    assert said[name][name] >= N // 2, said[name]


def test_four_of_five_have_the_right_name_and_few_a_wrong_one(said: dict[str, Counter[str | None]]) -> None:
    right = sum(counts[name] for name, counts in said.items())
    wrong = sum(
        n
        for name, counts in said.items()
        for each, n in counts.items()
        if each not in {name, "percussion", None}
    )
    assert right >= 0.8 * N * len(KINDS), said
    assert wrong <= 0.1 * N * len(KINDS), said


def test_an_unsure_verdict_is_the_family_or_nothing() -> None:
    features = np.zeros(len(classifier().mean))
    for favoured, family in ((("kick", "tom"), "percussion"), (("vocal", "tonal", "loop"), None)):
        bias = np.array([5.0 if name in favoured else 0.0 for name in CLASSES])
        shape = classifier()
        even = type(shape)(
            shape.mean,
            shape.scale,
            shape.hidden_weight * 0,
            shape.hidden_bias * 0,
            shape.out_weight * 0,
            bias,
        )
        found = even.classify(features)
        assert found.name == family
        assert found.confidence > 0.5


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("frames", [1, 2, 50, 3000])
def test_any_rate_and_any_length_is_heard(rate: int, frames: int) -> None:
    ear = Ear(rate)
    rng = np.random.default_rng(0)
    ear.hear((rng.standard_normal((6, frames)) * 0.1).astype(np.float32))
    sound = listen(ear.head(), frames / rate)
    if sound is not None:
        assert np.isfinite(features_of(sound)).all()
        assert np.isfinite(picture_of(sound, frames / rate).levels).all()
        assert 0 <= classifier().classify(features_of(sound)).confidence <= 1


def test_an_ear_keeps_only_the_beginning() -> None:
    ear = Ear(RATE)
    for _ in range(100):
        ear.hear(np.ones((2, RATE), np.float32))
    assert len(ear.head()) == 4 * RATE
    assert listen(np.zeros(RATE), 1.0) is None


# ── alike ─────────────────────────────────────────────────────────────────────────────────────────────


def groups(sounds: list[Audio], threshold: float = 0.97) -> list[int]:
    pictures = [
        None if (heard := listen(s[: 4 * RATE], len(s) / RATE)) is None else picture_of(heard, len(s) / RATE)
        for s in sounds
    ]
    found = groups_of(pictures, threshold)
    for number in {group.number for group in found}:
        assert sum(group.representative for group in found if group.number == number) == 1
    return [group.number for group in found]


def test_a_hit_again_is_the_same_at_any_level_and_with_some_noise() -> None:
    rng = np.random.default_rng(3)
    drums = [kick(rng), snare(rng), hat(rng), tom(rng)]
    sounds = [
        np.concatenate((np.zeros(late), sound * gain)) + rng.standard_normal(late + len(sound)) * 1e-4
        for gain, late in ((1.0, 0), (0.5, 60), (0.8, 130))
        for sound in drums
    ]
    assert groups(sounds) == [1, 2, 3, 4] * 3


def test_a_hit_that_is_cut_short_is_still_the_same() -> None:
    rng = np.random.default_rng(4)
    whole, other = snare(rng), tom(rng)
    assert groups([whole, other, whole[: round(0.09 * RATE)]]) == [1, 2, 1]


def test_other_drums_of_the_same_kind_are_others() -> None:
    rng = np.random.default_rng(6)
    assert len(set(groups([tom(rng) for _ in range(6)]))) >= 4
    assert groups([np.zeros(RATE), kick(rng), np.zeros(500)]) == [1, 2, 1]


def test_slices_carry_their_class_and_their_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    bar = [kick(rng), clap(rng), snare(rng), clap(rng)]
    out = np.zeros((1, 4 * RATE), np.float32)
    for i in range(8):
        sound = bar[i % 4][: RATE // 2] * 0.6
        start = i * RATE // 2
        out[0, start : start + len(sound)] += sound.astype(np.float32)
    output = run(recorded(tmp_path, out), tmp_path, method="grid", bpm=120, snap="none")
    facts = [each.facts for each in output.audio]
    heard = [verdict(sound[: RATE // 2]).name for sound in bar]
    assert heard[:2] == ["kick", "clap"]
    assert [each["class"] for each in facts] == heard * 2
    assert [each["group"] for each in facts][4:] == [each["group"] for each in facts][:4]
    assert output.facts["classes"] == Counter(heard * 2)
    assert [each.label for each in output.audio][:2] == ["{title} kick 01", "{title} clap 02"]
    assert all(0.5 <= each["confidence"] <= 1 for each in facts)


def test_who_asks_for_neither_gets_neither(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    output = run(recorded(tmp_path, kick(rng)[None]), tmp_path, classify=False, dedupe=None)
    assert [(e.facts["class"], e.facts["confidence"], e.facts["group"]) for e in output.audio] == [
        (None, None, None)
    ]


def recorded(folder: Path, samples: Audio) -> Recording:
    with RecordingWriter(folder / "input.f32", RATE, len(samples)) as out:
        out.write(samples.astype(np.float32))
        return out.close()


def run(recording: Recording, folder: Path, **params: object) -> Output:
    (folder / "run").mkdir()
    context = RunContext(folder / "run", lambda *_: None)
    return Slicer().run(recording, SliceParams.model_validate(params), context)
