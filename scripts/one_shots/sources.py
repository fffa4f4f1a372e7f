"""One-shots with their names, from programs and packages: which of them training hears, and which it never does.

Training: formulas (drums.py), the soundfont FluidR3 (MIT) and speech by espeak-ng. Held out: the CC0 samples of
the npm package supersonic-scsynth-samples, whose file names say what they are, the soundfont TimGM6mb (GPL-2, never
more than a test) and speech by flite.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import mido
import numpy as np
import soundfile
import soxr
from drums import RATE, Audio

FLUID = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
TIM = "/usr/share/sounds/sf2/TimGM6mb.sf2"
SAMPLES = Path(os.environ.get("ONE_SHOTS_SAMPLES", "package/samples"))
SLOT_S = 3.0

NOTES = {
    "kick": (35, 36), "snare": (38, 40), "clap": (39,), "hat": (42, 44, 46), "tom": (41, 43, 45, 47, 48, 50),
    "cymbal": (49, 51, 52, 55, 57, 59),
    "percussion": (37, 54, 56, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 75, 76, 77, 80, 81),
}  # fmt: skip
"""Of the General MIDI drum map."""
KITS = (0, 8, 16, 24, 25, 32, 40)
PITCHED = (*range(6), *range(8, 16), *range(24, 40), 45, 46, 56, 57, 60, 61, 65, 68, 71, 73, 75, 80, 81, 82, 84, 87, 104, 106, 108)  # fmt: skip

FILES = {
    "kick": ("bd_*", "drum_bass_*", "drum_heavy_kick", "elec_hollow_kick", "elec_soft_kick"),
    "snare": ("sn_*", "drum_snare_*", "elec_snare", "elec_*_snare"),
    "hat": ("hat_*", "drum_cymbal_closed", "drum_cymbal_pedal", "drum_cymbal_open", "tbd_perc_hat"),
    "tom": ("drum_tom_*", "elec_fuzz_tom"),
    "cymbal": ("drum_cymbal_hard", "drum_cymbal_soft", "drum_splash_*", "ride_*", "elec_cymbal"),
    "percussion": ("tabla_*", "drum_cowbell", "perc_bell*", "perc_till", "elec_wood", "elec_triangle", "tbd_perc_tap_*"),
    "tonal": ("bass_*_c", "bass_dnb_f", "guit_harmonics", "guit_e_fifths", "elec_beep", "elec_bell", "elec_blip*",
              "elec_chime", "elec_ping", "elec_plip", "tbd_highkey_c4", "ambi_piano"),
    "loop": ("loop_*", "arovane_beat_*"),
}  # fmt: skip
EXCEPT = ("*.aiff", "loop_drone_*", "loop_3d_*")

WORDS = (
    "yeah", "hey", "oh", "come on", "baby", "love", "tonight", "go", "ah", "what", "one", "two", "three", "drop", "la la",
    "no", "move", "feel", "ooh", "time", "higher", "I know", "fire", "sun", "down", "alright", "dream", "ha", "fly", "see",
)  # fmt: skip
SPEAKERS = (
    "en-us",
    "en-gb",
    "en-us+f2",
    "en-us+f4",
    "en-us+m3",
    "en-gb+f3",
    "en-us+m7",
    "de",
    "fr",
    "es",
    "it+f2",
    "sv",
)
FLITE = ("kal16", "awb", "rms", "slt")


def soundfont(
    path: str, kits: tuple[int, ...], programs: tuple[int, ...], velocities: tuple[int, ...]
) -> Iterator[tuple[str, Audio]]:
    """Every drum of the kits and some notes of the programs."""
    for kit in kits:
        drums = [(name, note) for name, notes in NOTES.items() for note in notes]
        shots = [(name, note, v) for name, note in drums for v in velocities]
        yield from _render(path, kit, 9, shots, 0.3)
    for i, program in enumerate(programs):
        low = 28 if 32 <= program < 40 else 48
        notes = [low + (i * 5 + step) % 30 for step in (0, 7, 16)]
        yield from _render(path, program, 0, [("tonal", note, velocities[-1]) for note in notes], 0.4)


def _render(
    path: str, program: int, channel: int, shots: list[tuple[str, int, int]], held_s: float
) -> Iterator[tuple[str, Audio]]:
    track = mido.MidiTrack([mido.Message("program_change", program=program, channel=channel)])
    for _, note, velocity in shots:
        track.append(mido.Message("note_on", note=note, velocity=velocity, channel=channel))
        track.append(mido.Message("note_off", note=note, channel=channel, time=round(held_s * 960)))
        track.append(
            mido.Message("note_off", note=note, channel=channel, time=round((SLOT_S - held_s) * 960))
        )
    file = mido.MidiFile(ticks_per_beat=480, tracks=[track])  # at 120 a minute 960 ticks are a second
    with tempfile.TemporaryDirectory() as folder:
        file.save(f"{folder}/a.mid")
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.8", "-r", str(RATE), "-F", f"{folder}/a.wav",
                   path, f"{folder}/a.mid"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        whole, _ = soundfile.read(f"{folder}/a.wav", dtype="float64", always_2d=True)
    mono = whole.mean(axis=1)
    for i, (name, _, _) in enumerate(shots):
        shot = mono[round(i * SLOT_S * RATE) : round((i + 1) * SLOT_S * RATE)]
        if np.abs(shot).max(initial=0) > 1e-4:
            yield name, trimmed(shot)


def spoken(program: str) -> Iterator[tuple[str, Audio]]:
    """Words by espeak-ng or flite; each speaker has words of its own."""
    speakers = SPEAKERS if program == "espeak-ng" else FLITE
    with tempfile.TemporaryDirectory() as folder:
        for i, speaker in enumerate(speakers):
            for j in range(10):
                word = WORDS[(i * 7 + j) % len(WORDS)]
                if program == "espeak-ng":
                    pitch = str((i * 13 + j * 9) % 100)
                    command = [
                        "espeak-ng",
                        "-v",
                        speaker,
                        "-p",
                        pitch,
                        "-s",
                        str(110 + 8 * j),
                        "-w",
                        f"{folder}/a.wav",
                        word,
                    ]
                else:
                    command = ["flite", "-voice", speaker, "-t", word, "-o", f"{folder}/a.wav"]
                subprocess.run(command, check=True, capture_output=True, timeout=60)
                yield "vocal", trimmed(_mono(Path(f"{folder}/a.wav")))


def samples() -> Iterator[tuple[str, Audio]]:
    """The CC0 samples whose names tell what they are."""
    for path in sorted(SAMPLES.iterdir()):
        names = [name for name, globs in FILES.items() if any(fnmatch(path.stem, glob) for glob in globs)]
        if names and not any(fnmatch(path.name, glob) for glob in EXCEPT) and path.suffix == ".flac":
            yield names[0], trimmed(_mono(path))


def _mono(path: Path) -> Audio:
    sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return soxr.resample(sound.mean(axis=1), rate, RATE) if rate != RATE else sound.mean(axis=1)


def trimmed(sound: Audio) -> Audio:
    """Without what is 50 dB below its peak at both ends."""
    loud = np.flatnonzero(np.abs(sound) > np.abs(sound).max() * 10**-2.5)
    return sound[loud[0] : loud[-1] + 1]
