"""Measure a checkpoint: `python evaluate.py --data DIR --weights FILE [FILE] [--demo DIR] [--speed]`.

Per split and stem: SDR over the track (10 log10 |s|^2 / |s - s'|^2, mean over songs), with the stems made to
add up to the mix as the executor does it by default; the mix itself as a baseline; and museval's median over
seconds where museval is installed. `--demo` wants the folder that demo.py wrote, stems included: it prints
Whisper's word error rate and the note F1 of Basic Pitch, on the mix and on the separated stem, through the
executors of NeuraLib. `--speed` sends four minutes of noise through the executor with the bundled weights.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import mido
import mir_eval
import model
import numpy as np
import soundfile
import soxr
import torch
from compose import STEMS
from synth import RATE
from torch import nn

with contextlib.suppress(ImportError):
    import museval


Block = np.ndarray[Any, np.dtype[np.float32]]


def medians(reference: torch.Tensor, estimate: torch.Tensor) -> list[float]:
    """museval's SDR (BSS Eval v4): the median over windows of a second, per stem."""
    pair = (np.ascontiguousarray(x.numpy().transpose(0, 2, 1)) for x in (reference, estimate))
    found, *_ = museval.evaluate(*pair, win=RATE, hop=RATE)
    return [float(np.nanmedian(row)) for row in found]


def split(network: nn.Module, folder: Path, *, slow: int) -> dict[str, list[float]]:
    """Mean figures over the songs of a folder, per stem in STEMS order."""
    rows: dict[str, list[list[float]]] = {}
    for number, path in enumerate(sorted(folder.glob("*.npy"))):
        stems = torch.from_numpy(np.load(path).astype(np.float32) / 32768)
        mix = stems.sum(0)
        plain = model.separate(network, mix)
        exact = model.adding_up(plain, mix)
        silent = [bool((s**2).mean() < 1e-7) for s in stems]

        def scored(
            estimates: torch.Tensor, stems: torch.Tensor = stems, silent: list[bool] = silent
        ) -> list[float]:
            each = zip(stems, estimates, silent, strict=True)
            return [np.nan if quiet else model.sdr(s, e) for s, e, quiet in each]

        rows.setdefault("SDR, adding up", []).append(scored(exact))
        rows.setdefault("SDR, as the model says", []).append(scored(plain))
        rows.setdefault("SDR of the mix", []).append(scored(mix.expand_as(stems)))
        if number < slow and "museval" in globals():
            rows.setdefault("museval median, adding up", []).append(medians(stems, exact))
    return {
        name: [round(float(x), 2) for x in np.nanmean(np.array(values), axis=0)]
        for name, values in rows.items()
    }


def executor(entry: str) -> Any:
    from importlib.metadata import entry_points

    return next(e for e in entry_points(group="neuralib.executors") if e.name == entry).load()()


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()


def word_error_rate(truth: str, heard: str) -> float:
    """Levenshtein distance of the words over the number of true words."""
    a, b = words(truth), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1] / len(a)


def midi_notes(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Intervals in seconds and pitches in Hz of a MIDI file without overlapping equal notes."""
    now, sounding, found = 0.0, {}, []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on" and message.velocity:
            sounding[message.note] = now
        elif message.type in {"note_on", "note_off"} and message.note in sounding:
            found.append((sounding.pop(message.note), now, message.note))
    spans = np.array([(a, b) for a, b, _ in found]).reshape(-1, 2)
    return spans, mir_eval.util.midi_to_hz(np.array([p for *_, p in found], dtype=float))


class Ran(NamedTuple):
    """What one executor of NeuraLib wrote, and how long its run took by the clock and of all processors (s)."""

    folder: Path
    wall: float
    cpu: float


def run(entry: str, checkpoint: str, blocks: Iterable[Block], cache: Path, **params: object) -> Ran:
    """One executor of NeuraLib over blocks of (2, frames) at RATE."""
    from neuralib.audio import RecordingWriter
    from neuralib.executors import RunContext
    from neuralib.weights import Resolver

    made = executor(entry)
    folder = Path(tempfile.mkdtemp(prefix="mini-"))
    with RecordingWriter(folder / "in.f32", RATE, 2) as writer:
        for block in blocks:
            writer.write(np.ascontiguousarray(block, dtype=np.float32))
        recording = writer.close()
    weights = Resolver(cache, offline=True).resolve(entry, type(made).checkpoints, checkpoint)
    made.load(weights, "cpu", "fp32")
    begin, cpu = time.monotonic(), time.process_time()
    made.run(recording, type(made).params(**params), RunContext(folder, lambda *_: None))
    return Ran(folder, time.monotonic() - begin, time.process_time() - cpu)


def demo(network: nn.Module, folder: Path, cache: Path) -> None:
    audio, _ = soundfile.read(folder / "song.ogg", dtype="float32", always_2d=True)
    mix = torch.from_numpy(audio.T.copy())
    stems = dict(zip(STEMS, model.adding_up(model.separate(network, mix), mix), strict=True))
    if (folder / "stems").is_dir():
        for name, estimate in stems.items():
            truth = torch.from_numpy(
                soundfile.read(folder / "stems" / f"{name}.wav", dtype="float32")[0].T.copy()
            )
            print(f"demo {name}: SDR {model.sdr(truth, estimate):.2f}, the mix {model.sdr(truth, mix):.2f}")
    lyrics = (folder / "lyrics.txt").read_text(encoding="utf-8")
    truth_spans, truth_pitches = midi_notes(folder / "song.mid")
    for what, voice, low in (("mix", mix, mix), ("separated", stems["vocals"], stems["bass"])):
        heard, *_ = run("whisper", "base", [voice.numpy()], cache, language="en")
        text = " ".join(
            s["text"] for s in json.loads((heard / "lyrics.json").read_text(encoding="utf-8"))["segments"]
        )
        print(f"demo words, {what}: error rate {word_error_rate(lyrics, text):.3f} - {text}")
        written, *_ = run("basic-pitch", "icassp-2022", [low.numpy()], cache)
        spans, pitches = midi_notes(next(written.glob("*.mid")))
        *_, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(
            truth_spans, truth_pitches, spans, pitches, offset_ratio=None
        )
        print(f"demo bass notes, {what}: F1 {f1:.3f} ({len(pitches)} notes found, {len(truth_pitches)} true)")


def percussive(audio: torch.Tensor) -> np.ndarray[Any, Any]:
    """Energy per bin and frame of what is vertical in the spectrogram (median filters, Fitzgerald 2010)."""
    spectrum = librosa.stft(audio.mean(0).numpy(), n_fft=2048)
    return np.abs(librosa.decompose.hpss(spectrum, margin=(1.0, 2.0))[1]) ** 2


def piece(network: nn.Module, path: Path, pictures: Path, start: int = 30, seconds: int = 40) -> None:
    """A recording whose stems nobody knows: do they add up, and where are the strokes that the mix has?"""
    audio, rate = librosa.load(path, sr=None, mono=False, offset=start, duration=seconds)
    mix = torch.from_numpy(np.atleast_2d(soxr.resample(audio.T, rate, RATE).T).astype(np.float32))
    stems = model.adding_up(model.separate(network, mix), mix)
    null = 10 * torch.log10(((mix - stems.sum(0)) ** 2).mean() / (mix**2).mean() + 1e-30)
    struck = percussive(mix)
    loud = struck > np.quantile(struck, 0.98)  # the strokes: the loudest vertical 2 % of the mix
    held = {name: float(percussive(stem)[loud].sum()) for name, stem in zip(STEMS, stems, strict=True)}
    share = {name: round(value / sum(held.values()), 2) for name, value in held.items()}
    level = {
        n: round(float(10 * torch.log10((s**2).mean() + 1e-9)), 1) for n, s in zip(STEMS, stems, strict=True)
    }
    print(f"{path.name}: null {null:.0f} dB; of the strokes {share}; dBFS {level}", flush=True)
    pictures.mkdir(parents=True, exist_ok=True)
    for name, x in (("mix", mix), *zip(STEMS, stems, strict=True)):
        wav = pictures / f"{path.stem}-{name}.wav"
        soundfile.write(wav, x.numpy().T, RATE)
        picture = ["-lavfi", "showspectrumpic=s=800x256:legend=0", str(wav.with_suffix(".png"))]
        subprocess.run(
            ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(wav), *picture], check=True, timeout=120
        )
        wav.unlink()


def speed(cache: Path) -> None:
    """Four minutes of noise through NeuraLib's executor, which has the bundled weights."""
    seconds = 4 * 60
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2, RATE), dtype=np.float32) for _ in range(seconds))
    ran = run("demucs", "hdemucs_mini", noise, cache)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"speed: {seconds / ran.wall:.1f}x real time by the clock with {torch.get_num_threads()} threads, "
        f"{seconds / ran.cpu:.1f}x by CPU time of all; {memory:.0f} MiB resident at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="a second file for the drums")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "neuralib")
    parser.add_argument(
        "--museval", type=int, default=0, help="songs a split to judge so: slow, a minute each"
    )
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--pieces", type=Path, nargs="*", default=[], help="recordings without known stems")
    parser.add_argument("--pictures", type=Path, default=Path("pictures"), help="where their spectrograms go")
    args = parser.parse_args()
    if args.speed:  # first: what else is done here takes memory
        speed(args.cache)
    network = model.load_all(args.weights)
    if args.data:
        print(" ".join(STEMS))
        for name in ("in_domain", "out_of_domain"):
            for what, figures in split(network, args.data / name, slow=args.museval).items():
                print(f"{name}: {what}: {figures} mean {np.mean(figures):.2f}", flush=True)
    for path in args.pieces:
        piece(network, path, args.pictures)
    if args.demo:
        demo(network, args.demo, args.cache)


if __name__ == "__main__":
    main()
