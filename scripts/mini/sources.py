"""Where sounds come from, under which licence, and which of them training may hear.

Every source in TRAIN permits redistributing what is made from it, commercial use included. HELD_OUT
sounds are heard by the out-of-domain test alone: they never touch the weights.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import mido
import numpy as np
import soundfile
import soxr
from synth import RATE, Audio, Note

SAMPLES = Path(os.environ.get("MINI_SONIC_PI", "/usr/share/sonic-pi/samples"))
LOOPS = Path(os.environ.get("MINI_SUPERSONIC", "npm/package/samples"))
KITS_OF_HYDROGEN = Path(os.environ.get("MINI_HYDROGEN", "/usr/share/hydrogen/data/drumkits"))
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Soundfont:
    name: str
    path: str
    package: str
    licence: str


FLUID = Soundfont("FluidR3", "/usr/share/sounds/sf2/FluidR3_GM.sf2", "fluid-soundfont-gm", "MIT")
MUSESCORE = Soundfont(
    "MuseScore_General_Lite",
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
    "musescore-general-soundfont-small",
    "MIT, parts CC0 and public domain",
)
TIM = Soundfont(
    "TimGM6mb", "/usr/share/sounds/sf2/TimGM6mb.sf2", "timgm6mb-soundfont", "GPL-2, only ever a test"
)

BASS_PROGRAMS = tuple(range(32, 40))
PLUCKED_PROGRAMS = (*range(8), 12, 15, *range(24, 38), 45, 46, *range(104, 109))
"""What is plucked, picked or struck: low notes of any of these could be a bass."""
OTHER_PROGRAMS = (
    *range(16), *range(16, 32), 40, 41, 42, 44, 45, 46, 48, 49, 50, 51, *range(56, 64), *range(64, 80), *range(80, 104),
)  # fmt: skip
KITS = (0, 8, 16, 24, 25, 32, 40)
KIT_NOTES = {
    "kick": 36, "snare": 38, "clap": 39, "hat": 42, "open": 46, "ride": 51, "crash": 49,
    "low": 41, "mid": 47, "high": 50, "rim": 37, "shaker": 70,
}  # fmt: skip


@dataclass(frozen=True)
class Sounds:
    """The sounds one data set draws from."""

    fonts: tuple[Soundfont, ...]
    loops: dict[str, int]  # drum loop -> its length in beats
    basses: dict[str, int]  # bass one-shot -> its MIDI pitch
    beds: tuple[str, ...]  # guitars, pianos and textures
    kicks: tuple[str, ...]
    snares: tuple[str, ...]
    voices: tuple[str, ...]
    synthesis: float  # how often an instrument is ours rather than a soundfont's
    pieces: dict[str, tuple[str, ...]] = field(default_factory=dict)  # more recorded parts of a kit
    bass_programs: tuple[int, ...] = BASS_PROGRAMS


_ESPEAK_TRAIN = (
    "en-us", "en-gb", "en-us+f1", "en-us+f2", "en-gb+f4", "en-us+m1", "en-us+m2", "en-gb+m4", "en-us+m5", "en-us+m7",
    "en-us+adam", "en-us+Alex", "en-gb+Alicia", "en-us+Andrea", "en-us+Annie", "en-gb+belinda", "en-us+benjamin",
    "en-us+boris", "en-us+david", "en-us+Denis", "en-us+edward", "en-us+Gene", "en-us+iven", "en-us+john",
    "en-us+linda", "en-us+max", "en-us+Michael", "en-us+pablo", "en-gb+paul", "en-us+rob", "en-us+steph",
    "en-us+zac", "en-us+anika", "en-us+shelby", "en-us+travis", "en-us+klatt2", "en-us+klatt4", "es+f2", "fr+m3",
    "de+Annie", "it+f1", "pt+linda", "en-us+whisperf",
)  # fmt: skip

TRAIN = Sounds(
    fonts=(FLUID, MUSESCORE),
    loops={
        "loop_amen": 4, "loop_amen_full": 16, "loop_industrial": 2, "loop_mehackit1": 4, "loop_perc1": 4,
        "loop_tabla": 16, "loop_safari": 16, "arovane_beat_a": 32, "arovane_beat_b": 32, "arovane_beat_c": 16,
        "arovane_beat_d": 24, "arovane_beat_e": 24,
    },
    basses={
        "bass_thick_c": 36, "bass_voxy_c": 36, "bass_trance_c": 36, "bass_hard_c": 36, "bass_hit_c": 36,
        "bass_voxy_hit_c": 36, "bass_drop_c": 36,
    },
    beds=("guit_e_fifths", "guit_em9", "ambi_piano", "ambi_glass_hum", "ambi_drone", "guit_harmonics"),
    kicks=("bd_808", "bd_ada", "bd_boom", "bd_fat", "bd_gas", "bd_haus", "bd_klub", "bd_pure", "bd_tek", "bd_zum",
           "drum_heavy_kick", "drum_bass_hard", "elec_hollow_kick"),
    snares=("sn_dolf", "sn_generic", "sn_zome", "drum_snare_hard", "elec_snare", "elec_hi_snare", "elec_mid_snare",
            "perc_snap"),
    voices=(*_ESPEAK_TRAIN, *("flite:slt", "flite:kal16") * 4, *("festival:cmu_us_slt_arctic_hts",) * 3,
            "festival:kal_diphone"),
    synthesis=0.5,
)  # fmt: skip

_RUMPF = {
    "kick": ("06-38", "06-46", "07-18", "07-20"), "snare": ("01-21", "06-25"), "clap": ("01-26",),
    "hat": ("09-10", "06-28"), "open": ("08-31",), "ride": ("06-40", "08-20", "06-30"), "crash": ("06-43",),
    "low": ("08-17",), "mid": ("08-18",), "high": ("08-19", "08-32"), "rim": ("09-12",),
}  # fmt: skip
"""Pieces of a recorded kit: which of its files they are."""
_RUMPF_FILES = {
    piece: tuple(f"rumpf_kit_z01_h2/beats_{number}" for number in numbers)
    for piece, numbers in _RUMPF.items()
}
_HATS = (
    "bdu", "cab", "cats", "gem", "gnu", "gump", "hier", "len", "mess", "metal", "noiz", "psych", "raw", "sci", "snap",
    "star", "tap", "yosh", "zan", "zap", "zild",
)  # fmt: skip

ALONE = replace(
    TRAIN,
    loops={**TRAIN.loops, "loop_compus": 16, "loop_electric": 4},
    kicks=(*TRAIN.kicks, "bd_chip", "bd_jazz", *_RUMPF_FILES["kick"] * 2, "Audiophob/86335__zgump__tom-0105"),
    snares=(
        *TRAIN.snares, "elec_filt_snare", *_RUMPF_FILES["snare"] * 3,
        "Audiophob/25671__walter-odington__garage-city-snare-snappy", "Audiophob/124382__cubix__8bit-snare",
    ),
    pieces={
        "clap": (*_RUMPF_FILES["clap"], "Audiophob/29800__stomachache__3"),
        "hat": ("drum_cymbal_closed", "drum_cymbal_pedal", "elec_tick", "elec_cymbal", *_RUMPF_FILES["hat"] * 2,
                *(f"hat_{name}" for name in _HATS), "Audiophob/116973__cbeeching__hat-light",
                "Audiophob/156272__dayvonjersen__fxshake5", "tbd_perc_hat"),
        "open": ("drum_cymbal_open", "drum_splash_soft", "elec_cymbal", *_RUMPF_FILES["open"],
                 "Audiophob/104227__minorr__hhat-paiste-302-14-open-p"),
        "ride": ("drum_cymbal_soft", "drum_cymbal_open", "ride_tri", "ride_via", *_RUMPF_FILES["ride"]),
        "crash": ("drum_cymbal_hard", "drum_splash_hard", *_RUMPF_FILES["crash"],
                  "Audiophob/124101__connersaw8__crash"),
        "low": ("drum_tom_lo_hard", "drum_tom_lo_soft", "elec_fuzz_tom", "tabla_ghe1", *_RUMPF_FILES["low"],
                "Audiophob/99930__menegass__noise-tom0"),
        "mid": ("drum_tom_mid_hard", "drum_tom_mid_soft", "tabla_na", "elec_wood", *_RUMPF_FILES["mid"],
                "Audiophob/99931__menegass__noise-tom1"),
        "high": ("drum_tom_hi_hard", "drum_tom_hi_soft", "tabla_tas1", "drum_cowbell", *_RUMPF_FILES["high"],
                 "Audiophob/101450__menegass__tomh"),
        "rim": ("elec_wood", "perc_till", "elec_pop", "tabla_te1", *_RUMPF_FILES["rim"], "tbd_perc_tap_1",
                "Audiophob/16336__sstokes__ss-ht-crunchtime"),
        "shaker": ("elec_tick", "glitch_perc1", "glitch_perc3", "tbd_perc_tap_2", "tbd_perc_blip"),
    },
)  # fmt: skip
"""For stems that are rendered alone: more recorded drums than whole songs have."""
PERCUSSION_NOTES = (54, 56, 58, *range(60, 82))
"""What General MIDI's drum channel has beside a kit: tambourine, bongos, congas, timbales, claves and more."""
PERCUSSION = (
    *(f"tabla_{name}" for name in (
        "dhec", "ghe1", "ghe2", "ghe3", "ghe4", "ghe5", "ghe6", "ghe7", "ghe8", "ke1", "ke2", "ke3", "na", "na_o", "na_s",
        "re", "tas1", "tas2", "tas3", "te1", "te2", "te_m", "te_ne", "tun1", "tun2", "tun3")),
    *(f"elec_{name}" for name in ("wood", "tick", "pop", "plip", "blip", "blip2", "bong", "flip", "twip", "fuzz_tom")),
    *(f"drum_tom_{name}" for name in ("hi_hard", "hi_soft", "mid_hard", "mid_soft", "lo_hard", "lo_soft")),
    *(f"glitch_perc{n}" for n in range(1, 6)), "drum_cowbell", "perc_bell", "perc_bell2", "perc_till", "perc_snap",
    "tbd_perc_blip", "tbd_perc_hat", "tbd_perc_tap_1", "tbd_perc_tap_2",
    *(file for files in _RUMPF_FILES.values() for file in files),
)  # fmt: skip
"""Recorded strokes that training may hear at any pitch."""

HELD_OUT = Sounds(
    fonts=(TIM,),
    loops={"loop_breakbeat": 4, "loop_mehackit2": 4, "loop_perc2": 4},
    basses={"bass_woodsy_c": 36, "bass_dnb_f": 29},
    beds=("guit_e_slide",),
    kicks=("bd_sone", "bd_zome", "elec_soft_kick", "bd_mehackit"),
    snares=("sn_dub", "drum_snare_soft", "elec_lo_snare", "perc_snap2"),
    voices=("flite:awb", "flite:rms", "flite:awb", "flite:rms", "en-us+f5", "en-gb+Andy", "ru", "en-us+m3"),
    synthesis=0.0,
)

MORE_VOICES = (
    *("festival:ked_diphone",) * 6, *("festival:msu_ru_nsh_clunits",) * 6, "en-us+antonio", "en-gb+aunty", "en-us+caleb",
    "en-us+ed", "en-us+edward2", "en-gb+f3", "en-us+grandma", "en-us+grandpa", "fr+gustave", "en-us+iven2", "en-us+Jacky",
    "en-us+klatt3", "en-us+Lee", "it+Marco", "en-us+Mario", "es+miguel", "en-us+Mike", "en-gb+norbert", "en-us+quincy",
    "en-us+robert", "en-us+sandro", "en-us+steph2", "en-us+Storm", "en-gb+victor", "pt+Diogo", "de+klatt", "en-us+m6",
    "en-gb+m8",
)  # fmt: skip
"""Voices of vocals that are rendered alone, beside those of whole songs."""


@functools.lru_cache(maxsize=128)
def sample(name: str) -> Audio:
    """One of the samples as float32 (2, frames) at RATE, peak 1. `name` may say of which kit: rumpf_kit_z01_h2/beats_01-21."""
    folders = (SAMPLES, LOOPS, KITS_OF_HYDROGEN)
    path = next(p for f in folders for end in ("flac", "wav") if (p := f / f"{name}.{end}").exists())
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        data = soxr.resample(data, rate, RATE)
    stereo = np.repeat(data, 2, axis=1) if data.shape[1] == 1 else data[:, :2]
    return np.ascontiguousarray(stereo.T / max(float(np.abs(stereo).max()), 1e-6), dtype=np.float32)


def repitch(x: Audio, ratio: float) -> Audio:
    """Play a sample `ratio` times as fast, pitch and all; (channels, frames)."""
    frames = int(x.shape[1] / ratio)
    at = np.arange(frames) * ratio
    return np.stack([np.interp(at, np.arange(x.shape[1]), c) for c in x]).astype(np.float32)


def play_midi(
    font: Soundfont, program: int, notes: list[Note], frames: int, *, bank: int = 0, drums: bool = False
) -> Audio:
    """Render notes with fluidsynth, dry: float32 (2, frames)."""
    channel = 9 if drums else 0
    events = [(n.start, 1, n.pitch, n.velocity) for n in notes] + [
        (n.start + n.duration, 0, n.pitch, 0.0) for n in notes
    ]
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("control_change", channel=channel, control=0, value=bank))
    track.append(mido.Message("program_change", channel=channel, program=program))
    now = 0
    for when, on, pitch, velocity in sorted(events):
        tick = round(when * 1920)
        track.append(
            mido.Message(
                "note_on", channel=channel, note=min(max(pitch, 0), 127), time=tick - now,
                velocity=int(np.clip(velocity * 127, 1, 127)) if on else 0,
            )
        )  # fmt: skip
        now = tick
    song = mido.MidiFile(ticks_per_beat=960)
    song.tracks.append(track)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        midi, wav = Path(folder) / "in.mid", Path(folder) / "out.wav"
        song.save(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(RATE), "-R", "0", "-C", "0"]
        command += ["-o", "synth.dynamic-sample-loading=1", "-F", str(wav), font.path, str(midi)]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        data, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    out = np.zeros((2, frames), dtype=np.float32)
    size = min(frames, data.shape[0])
    out[:, :size] = data[:size].T
    return out
