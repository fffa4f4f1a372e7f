"""Voices from text: spoken, rapped on the grid, or sung with the WORLD vocoder (Morise et al. 2016).

A bank of analysed phrases is made once (`build_bank`); songs then bend them to their melody or beat.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyworld
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import signal
from sources import SCRATCH
from synth import RATE, Audio, Note, Rng, hertz

SPEECH_RATE = 22050
HOP = 0.005
_WORDS = {
    "noun": "river night light fire heart summer window city road mirror shadow morning ocean stranger silver winter garden "
    "thunder paper engine station memory season mountain dancer feather candle signal highway letter",
    "verb": "running falling calling waiting burning dreaming turning holding fading rising breaking walking singing moving "
    "shining leaving learning hiding driving floating",
    "lead": "I was|you are|we keep|they say you are|never stop|all night|tell me why I am|now and then I am|oh my love is|"
    "maybe we are|somebody is|every day I am|don't you know we are|over and over",
    "link": "through the|under the|into the|away from the|like a|with the|over the|after the|without a|back to the",
    "hook": "oh oh oh|la la la la|yeah yeah|hey hey|na na na na|ooh ooh|come on|one more time|let it go|here we go",
    "foreign": "la luna sobre el mar|je ne sais pas pourquoi|immer wieder in der nacht|il sole nel tuo cuore|meu amor na cidade|"
    "quiero bailar contigo|sous le ciel de paris|wir tanzen bis zum morgen|volare nella notte|saudade do verao",
    "russian": "тихая река течёт под звёздами|я иду домой по старой дороге|ты помнишь море и белый песок|снова горит огонь в окне|"
    "где ты была всю эту зиму|мы будем танцевать до утра",
}


@dataclass(frozen=True)
class Phrase:
    """A spoken line and its WORLD analysis at 5 ms; `nuclei` and `cuts` are frame indices of syllables."""

    audio: Audio
    f0: NDArray[np.float64]
    envelope: NDArray[np.float32]
    aperiodicity: NDArray[np.float32]
    nuclei: NDArray[np.int64]
    cuts: NDArray[np.int64]


def line(rng: Rng, voice: str) -> str:
    """A line of lyrics nobody needs to remember, in a language of the voice's."""
    pick = {k: v.split("|") if "|" in v else v.split() for k, v in _WORDS.items()}

    def one(kind: str) -> str:
        return str(rng.choice(pick[kind]))

    if "_ru_" in voice:  # reads no Latin letters
        return one("russian")
    if voice.split("+", maxsplit=1)[0] in {"es", "fr", "de", "it", "pt", "ru"}:
        return one("foreign")
    if rng.uniform() < 0.15:
        return one("hook")
    return f"{one('lead')} {one('verb')} {one('link')} {one('noun')}"


def speak(voice: str, text: str, *, speed: int = 165, pitch: int = 50) -> Audio:
    """Text to speech, trimmed: float32 mono at SPEECH_RATE, peak 0.7."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        wav = Path(folder) / "speech.wav"
        engine, _, name = voice.rpartition(":")
        if engine == "flite":
            command = [
                "flite",
                "-voice",
                name,
                "--setf",
                f"duration_stretch={165 / speed:.2f}",
                "-t",
                text,
                "-o",
                str(wav),
            ]
        elif engine == "festival":
            command = ["text2wave", "-eval", f"(voice_{name})", "-o", str(wav)]
        else:
            command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(wav), text]
        subprocess.run(command, check=True, timeout=60, capture_output=True, input=text.encode())
        data, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    mono = data.mean(axis=1)
    if rate != SPEECH_RATE:
        mono = soxr.resample(mono, rate, SPEECH_RATE)
    loud = np.flatnonzero(np.abs(mono) > 0.01 * np.abs(mono).max())
    trimmed = mono[loud[0] : loud[-1] + 1]
    return np.asarray(0.7 * trimmed / np.abs(trimmed).max(), dtype=np.float32)


def analyse(audio: Audio) -> Phrase:
    """WORLD parameters and syllables of a spoken line."""
    x = audio.astype(np.float64)
    f0, t = pyworld.dio(x, SPEECH_RATE, f0_floor=65, f0_ceil=450, frame_period=HOP * 1000)
    f0 = pyworld.stonemask(x, f0, t, SPEECH_RATE)
    spectrum = pyworld.cheaptrick(x, f0, t, SPEECH_RATE)
    noise = pyworld.d4c(x, f0, t, SPEECH_RATE)
    energy = np.sqrt(spectrum[:, 5:80].mean(axis=1)) * (f0 > 0)
    smooth = signal.convolve(energy, np.hanning(13) / 6, mode="same")
    nuclei, _ = signal.find_peaks(smooth, distance=22, prominence=0.08 * smooth.max() + 1e-9)
    if nuclei.size == 0:
        nuclei = np.array([int(np.argmax(smooth))])
    between = [a + int(np.argmin(smooth[a:b])) for a, b in itertools.pairwise(nuclei)]
    cuts = np.array([0, *between, f0.size], dtype=np.int64)
    return Phrase(audio, f0, spectrum.astype(np.float32), noise.astype(np.float32), nuclei, cuts)


def build_bank(folder: Path, voices: Sequence[str], count: int, seed: int) -> None:
    """Speak and analyse `count` lines into `folder`; finished ones are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        target = folder / f"{i:04d}.npz"
        if target.exists():
            continue
        rng = np.random.default_rng([seed, i])
        voice = voices[i % len(voices)]
        speech = speak(
            voice,
            line(rng, voice),
            speed=int(rng.integers(125, 200)),
            pitch=int(rng.integers(25, 75)),
        )
        phrase = analyse(speech)
        draft = target.with_suffix(".tmp.npz")
        np.savez(
            draft, audio=speech, f0=phrase.f0, envelope=np.sqrt(phrase.envelope).astype(np.float16),
            aperiodicity=phrase.aperiodicity.astype(np.float16), nuclei=phrase.nuclei, cuts=phrase.cuts,
        )  # fmt: skip
        shutil.move(draft, target)


def load_phrase(path: Path) -> Phrase:
    with np.load(path) as z:
        spectrum = np.maximum(z["envelope"].astype(np.float32) ** 2, 1e-12)
        noise = np.clip(z["aperiodicity"].astype(np.float32), 1e-3, 1 - 1e-3)
        return Phrase(z["audio"], z["f0"], spectrum, noise, z["nuclei"], z["cuts"])


def _time_map(phrase: Phrase, starts: list[float], end: float) -> NDArray[np.float64]:
    """For every output frame the source frame: nuclei land on `starts`, vowels stretch, consonants do not."""
    count = min(len(starts), phrase.nuclei.size)
    lead = min(float(phrase.nuclei[0]) * HOP, 0.12)
    out, source = [starts[0] - lead], [float(phrase.nuclei[0]) - lead / HOP]
    for i in range(count):
        last = i + 1 == count
        finish = end if last else starts[i + 1]
        cut, nucleus = float(phrase.cuts[i + 1]), float(phrase.nuclei[i])
        following = cut if last else float(phrase.nuclei[i + 1])
        keep = min((following - nucleus) * 0.5, (finish - starts[i]) / HOP * 0.6)
        out += [starts[i], finish - keep * HOP]
        source += [nucleus, max(following - keep, nucleus + 1)]
        if last:
            out.append(finish)
            source.append(cut)
    frames = np.arange(0, int((end - out[0]) / HOP)) * HOP + out[0]
    return np.interp(frames, out, source)


def _render(phrase: Phrase, at: NDArray[np.float64], f0: NDArray[np.float64], formant: float) -> Audio:
    index = np.clip(at.astype(np.int64), 0, phrase.f0.size - 1)
    spectrum, noise = phrase.envelope[index].astype(np.float64), phrase.aperiodicity[index].astype(np.float64)
    if abs(formant - 1) > 0.01:
        bins = np.clip((np.arange(spectrum.shape[1]) / formant).astype(np.int64), 0, spectrum.shape[1] - 1)
        spectrum, noise = np.ascontiguousarray(spectrum[:, bins]), np.ascontiguousarray(noise[:, bins])
    x = pyworld.synthesize(f0, spectrum, noise, SPEECH_RATE, HOP * 1000)
    return np.asarray(x, dtype=np.float32)


def sing(phrase: Phrase, notes: list[Note], rng: Rng) -> Audio:
    """The phrase on the notes, one syllable each; starts 0.12 s at most before the first note."""
    count = min(len(notes), phrase.nuclei.size)
    starts = [n.start for n in notes[:count]]
    end = notes[count - 1].start + max(notes[count - 1].duration, 0.2)
    at = _time_map(phrase, starts, end)
    t = np.arange(at.size) * HOP + (end - at.size * HOP)
    which = np.clip(np.searchsorted(starts, t + 0.03, side="right") - 1, 0, count - 1)
    pitch = np.array([n.pitch for n in notes[:count]], dtype=np.float64)[which]
    glide = signal.windows.hann(int(rng.integers(9, 25)))
    pitch = signal.convolve(np.pad(pitch, glide.size, mode="edge"), glide / glide.sum(), mode="same")[
        glide.size : -glide.size
    ]
    since = t - np.array(starts)[which]
    depth = rng.uniform(0.1, 0.6) * np.clip((since - 0.15) / 0.3, 0, 1)
    pitch = pitch + depth * np.sin(2 * np.pi * rng.uniform(4.8, 6.5) * t + rng.uniform(0, 6))
    drift = signal.lfilter([0.02], [1, -0.98], rng.standard_normal(at.size))
    voiced = phrase.f0[np.clip(at.astype(np.int64), 0, phrase.f0.size - 1)] > 0
    f0 = np.where(voiced, 440 * 2 ** ((pitch + drift - 69) / 12), 0.0)
    return _render(phrase, at, f0, float(rng.uniform(0.9, 1.15)))


def rap(phrase: Phrase, starts: list[float], end: float, rng: Rng) -> Audio:
    """The phrase with its syllables on `starts` and its own intonation."""
    at = _time_map(phrase, starts[: phrase.nuclei.size], end)
    spoken = np.interp(at, np.arange(phrase.f0.size), phrase.f0)
    voiced = phrase.f0[np.clip(at.astype(np.int64), 0, phrase.f0.size - 1)] > 0
    return _render(
        phrase, at, np.where(voiced, spoken * rng.uniform(0.85, 1.2), 0.0), float(rng.uniform(0.92, 1.1))
    )


def stretch(x: Audio, factor: float) -> Audio:
    """Speech at SPEECH_RATE made `factor` times as long, pitch kept (WORLD)."""
    whole = analyse(x)
    at = np.arange(int(whole.f0.size * factor)) / factor
    return _render(whole, at, whole.f0[np.minimum(at.astype(np.int64), whole.f0.size - 1)], 1.0)


def airy(x: Audio, amount: float, rng: Rng) -> Audio:
    """Speech at RATE, with the breath above 7 kHz that 16-22 kHz engines lack, shaped by its sibilance."""
    full = soxr.resample(x, SPEECH_RATE, RATE).astype(np.float32)
    band = signal.sosfilt(signal.butter(2, [3500, 7500], "bandpass", fs=RATE, output="sos"), full)
    level = np.abs(signal.sosfilt(signal.butter(1, 60, fs=RATE, output="sos"), np.abs(band)))
    hiss = signal.sosfilt(
        signal.butter(2, 7000, "highpass", fs=RATE, output="sos"), rng.standard_normal(full.size)
    )
    return np.asarray(full + amount * level * hiss, dtype=np.float32)


def range_of(phrase: Phrase) -> int:
    """The MIDI pitch a melody for this voice starts at."""
    voiced = phrase.f0[phrase.f0 > 0]
    spoken = float(np.median(voiced)) if voiced.size else 150.0
    lowest = 12 * np.log2(spoken / 440) + 69 + 1
    return int(np.clip(lowest, 45, 64))


__all__ = [
    "Phrase",
    "airy",
    "analyse",
    "build_bank",
    "hertz",
    "load_phrase",
    "range_of",
    "rap",
    "sing",
    "speak",
]
