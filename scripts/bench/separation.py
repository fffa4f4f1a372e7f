"""Demucs: ours against `demucs.api.Separator.separate_tensor`, shifts 0, on the same weights.

Speed does not depend on the weights: networks of the published shape with seeded weights serve. Residual branches
and layer scales, which are almost silent before training, are made loud, so that the gate sees all of the network.
"""

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from neuralib.bench.pairs import Case, Gate, Pair, no_gpu
from neuralib.bench.stock import separate, separator

STEMS = ["drums", "bass", "other", "vocals"]
STOCK = "demucs Separator.separate_tensor"
MOST_DSDR = 0.01
"""By how much the SDR of any stem, against the part of the song that it should be, may differ from stock's (dB)."""


def network(seed: int) -> Any:
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(seed)
    made = HTDemucs(sources=STEMS, bottom_channels=512, dconv_mode=3, segment=Fraction(39, 5)).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("scale"):
            torch.nn.init.uniform_(parameter, 0.05, 0.5)
    return made


def executor(networks: list[Any], name: str, device: str, precision: str) -> Any:
    """Ours, loaded from files as it always is."""
    from safetensors.torch import save_file

    from neuralib.executors.demucs import Demucs
    from neuralib.weights import Weights

    segment = {"_type": "fraction", "numerator": 39, "denominator": 5}
    options = {"sources": STEMS, "bottom_channels": 512, "dconv_mode": 3, "segment": segment}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(options)}
    made = Demucs()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.safetensors" for i in range(len(networks))]
        for file, item in zip(files, networks, strict=True):
            save_file({k: v.contiguous() for k, v in item.state_dict().items()}, file, metadata)
        made.load(
            Weights("demucs", name, tuple(files), "", "path", "MIT", commercial_use=True, trained=False),
            device,
            precision,
        )
    return made


def parts(seconds: float) -> Any:
    """The stems that a song is made of, `(stems, 2, frames)`: noise that is struck, a low tone, a chord, a voice that
    glides.
    """
    import numpy as np

    time = np.arange(round(seconds * 44_100)) / 44_100
    rng = np.random.default_rng(0)
    beat = np.exp(-30 * (time % 0.5))
    drums = 0.3 * rng.standard_normal((2, len(time))) * beat
    bass = 0.2 * np.sin(2 * np.pi * 55 * time) * (0.6 + 0.4 * np.sin(np.pi * time))
    chord = 0.07 * sum(np.sin(2 * np.pi * f * time) for f in (262, 330, 392, 1870))
    glide = 2 * np.pi * 220 * (time + 0.05 * np.sin(2 * time))
    voice = 0.1 * sum(np.sin(k * glide) / k for k in range(1, 9)) * (0.6 + 0.4 * np.sin(5 * time))
    air = 0.02 * rng.standard_normal((3, 2, len(time)))
    sides = np.array([1.0, 0.8])[:, None]
    return np.stack([drums, *(np.stack([bass, chord, voice])[:, None] * sides + air)]).astype(np.float32)


def pair(
    members: int, stems: list[str], precision: str, least: float, device: str = "cpu", seconds: float = 30.0
) -> Pair:
    import numpy as np

    from neuralib.audio import RecordingWriter
    from neuralib.executors import RunContext
    from neuralib.executors.demucs import DemucsParams

    truth = parts(seconds)
    audio = truth.sum(0)
    kept = truth[[STEMS.index(stem) for stem in stems]]
    networks = [network(seed) for seed in range(members)]
    mixing = [[float(m == s) for s in range(4)] for m in range(4)] if members == 4 else [[1.0] * 4]
    mine = executor(networks, "htdemucs_ft" if members == 4 else "htdemucs", device, precision)
    theirs = separator(networks, mixing, device)
    params = DemucsParams(mode="model", stems=tuple(stems))

    def ours() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            with RecordingWriter(Path(folder) / "mix.f32", 44_100, 2) as writer:
                writer.write(audio)
            output = mine.run(writer.close(), params, RunContext(Path(folder), lambda _done, _total: None))
            return np.stack([stem.recording.read() for stem in output.audio])

    def stock() -> Any:
        return separate(theirs, audio, stems)

    def decibels(signal: Any, made: Any) -> Any:
        """Signal over what differs from it, stem by stem."""
        noise = ((made.astype(float) - signal) ** 2).sum((1, 2))
        return 10 * np.log10((signal.astype(float) ** 2).sum((1, 2)) / noise)

    def gate(left: Any, right: Any) -> Gate:
        snr = 10 * np.log10((right.astype(float) ** 2).sum() / ((left.astype(float) - right) ** 2).sum())
        change = float(np.abs(decibels(kept, left) - decibels(kept, right)).max())
        return Gate(bool(snr >= least and change <= MOST_DSDR), f"{snr:.1f} dB, {change:.4f} dB")

    return Pair(ours, stock, gate, audio_s=seconds)


def no_bf16() -> str | None:
    import torch

    from neuralib.executors.demucs.networks import precisions

    return None if "bf16" in precisions(torch.device("cpu")) else "this CPU does not compute in bf16"


CASES = [
    Case(
        name="sep.cpu.fp32",
        against=STOCK,
        gate="SNR >= 90 dB, dSDR <= 0.01 dB",
        floor=1.0,
        aim=1.3,
        make=lambda: pair(1, STEMS, "fp32", 90),
    ),
    Case(
        name="sep.cpu.bf16",
        against=f"{STOCK}, fp32",
        gate="SNR >= 40 dB, dSDR <= 0.01 dB",
        floor=1.5,
        aim=2.0,
        make=lambda: pair(1, STEMS, "bf16", 40),
        unmeasured=no_bf16,
    ),
    Case(
        name="sep.ft.vocals",
        against=f"{STOCK}, four members",
        gate="SNR >= 90 dB, dSDR <= 0.01 dB",
        floor=3.6,
        aim=4.5,
        make=lambda: pair(4, ["vocals"], "fp32", 90),
    ),
    Case(
        name="sep.h200.tf32",
        against=f"{STOCK}, same GPU, 240 s",
        gate="SNR >= 60 dB, dSDR <= 0.01 dB",
        floor=4.0,
        aim=6.0,
        make=lambda: pair(1, STEMS, "tf32", 60, "cuda", 240.0),
        unmeasured=no_gpu,
    ),
    Case(
        name="sep.h200.half",
        against=f"{STOCK}, same GPU, 240 s",
        gate="SNR >= 40 dB, dSDR <= 0.01 dB",
        floor=4.0,
        aim=15.0,
        make=lambda: pair(1, STEMS, "bf16", 40, "cuda", 240.0),
        unmeasured=no_gpu,
    ),
]
