"""The network of Basic Pitch in PyTorch, with the weights of the published ONNX file.

Source: Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and Multipitch
Estimation", ICASSP 2022; the constant-Q transform is the recursive one of Schörkhuber and Klapuri, 2010. A window
of 43,844 samples at 22,050 Hz becomes 172 frames of 309 constant-Q bins, of which three posteriorgrams are made.

The arithmetic is the graph's, arranged so that a CPU does less of it and does it in large matrix products; each
place says how. Only the transform up to the logarithm is delicate: what is quiet there is rounding noise, and the
logarithm lifts it, so those sums keep the graph's order of terms.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from neuralib.errors import ModelLoadFailed

from .graph import Array, Layer, read_layers
from .windows import FRAMES, HOP, OVERLAP_FRAMES

OCTAVES = 9
BINS_PER_OCTAVE = 36
BINS = 309
TAPS = 256
"""Length of the transform's kernels and of the low-pass filter."""
HALVED_AT_ONCE = 32
CONTOURS = 264
"""Bins that the heads look at: 88 semitones of three."""
HARMONIC_SHIFTS = (-36, 0, 36, 57, 72, 84, 93, 101)
"""In bins: harmonics ½, 1, 2 … 7."""
BELOW, ABOVE = 36, 56
"""Zeros around the 309 bins, so that every harmonic of every output bin is inside."""
BAND = 33
"""Contour bins made by one matrix product."""
LOG10_E = 0.4342944622039795
FIRST, LAST = OVERLAP_FRAMES // 2, FRAMES - OVERLAP_FRAMES // 2
"""Frames [15, 157) of a window are kept. The heads look up to 10 frames around them, never past the window."""


class Network(nn.Module):
    """`(n, 43844)` samples to posteriorgrams of the 142 frames in the middle of each window: note `(n, 142, 88)`,
    onset `(n, 142, 88)` and contour `(n, 142, 264)`.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.transform = _Transform(layers)
        self.contour_in = _HarmonicBands(layers)
        self.contour_out = _ToOne(layers, (1, 8, 5, 5))
        self.note_in = _conv(layers, (32, 1, 7, 7), padding=(0, 2))
        self.note_out = _ToOne(layers, (1, 32, 7, 3))
        self.onset_in = _conv(layers, (32, 8, 5, 5), padding=(0, 1))
        self.onset_out = _ToOne(layers, (1, 33, 3, 3))

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level = F.pad(self.transform(samples), (BELOW, ABOVE))
        contour = self.contour_out(self.contour_in(level[:, FIRST - 10 : LAST + 10])).sigmoid_()
        note = self.note_out(
            _frames_last(self.note_in(_channels_first(contour[..., None]))).relu_()
        ).sigmoid_()
        onset = _frames_last(self.onset_in(_harmonics(level[:, FIRST - 3 : LAST + 3]))).relu_()
        onset = self.onset_out(torch.cat([note[..., None], onset], -1)).sigmoid_()
        return note[:, 1:-1], onset, contour[:, 7:-7]


class _Transform(nn.Module):
    """Samples `(n, 43844)` to constant-Q levels `(n, 172, 309)` in decibels, 0 to 1 within a window, batch-normed."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        parts = [c[:, 0] for c in _all(layers, "Conv") if c.shape == (BINS_PER_OCTAVE, 1, 1, TAPS)]
        self.basis = _buffer(np.concatenate(_distinct(parts)))
        self.halving = _buffer(_staggered(_one(layers, "Conv", (1, 1, 1, TAPS)).ravel()))
        self.scale = _buffer(_one(layers, "Mul", (BINS, 1, 1))[..., 0])
        self.gain = _buffer(_one(layers, "Mul", (1,)))
        self.offset = _buffer(_one(layers, "Add", (1,)))

    def forward(self, samples: Tensor) -> Tensor:
        if len(samples) == 1:  # alone it would go through another convolution, which adds up in another order
            return self.forward(samples.expand(2, -1))[:1]
        level = (self._magnitudes(samples).square_() + 1e-10).log_().mul_(LOG10_E).mul_(10)
        level -= level.amin((1, 2), keepdim=True)
        peak = level.amax((1, 2), keepdim=True)
        level /= torch.where(peak == 0, 1, peak)
        return level.mul_(self.gain).add_(self.offset).transpose(1, 2)

    def _magnitudes(self, signal: Tensor) -> Tensor:
        """`(n, 309, 172)`: one octave after another, the signal halved in between."""
        octaves = []
        for octave in range(OCTAVES):
            padded = F.pad(signal[:, None], (TAPS // 2, TAPS // 2), mode="reflect")
            parts = F.conv1d(padded, self.basis, stride=HOP >> octave).square_()
            octaves.append((parts[:, :BINS_PER_OCTAVE] + parts[:, BINS_PER_OCTAVE:]).sqrt_())
            if octave < OCTAVES - 1:
                signal = self._halved(signal)
        return torch.cat(octaves[::-1], 1)[:, -BINS:] * self.scale

    def _halved(self, signal: Tensor) -> Tensor:
        """Low-passed, every other sample. A convolution with one output wastes a CPU's vectors: this one makes 32
        neighbours at once, each with the filter two samples further along.
        """
        length = signal.shape[1] // 2
        right = -(-length // HALVED_AT_ONCE) * 2 * HALVED_AT_ONCE - 2 * length
        padded = F.pad(signal[:, None], (TAPS // 2 - 1, TAPS // 2 - 1 + right))
        return (
            F.conv1d(padded, self.halving, stride=2 * HALVED_AT_ONCE).transpose(1, 2).flatten(1)[:, :length]
        )


class _HarmonicBands(nn.Module):
    """The convolution of 8 harmonics by 3 frames by 39 bins into 8 channels, then ReLU: padded levels
    `(n, t, 401)` to `(n, t - 2, 264, 8)`.

    The eight harmonics are one spectrum at eight shifts, and the 312 values under the kernel only 176 bins. As a
    banded matrix that maps bins to bins it costs 60 % of the products; a band of 33 bins is one dense block of it.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        weight, bias = _kernel(layers, (8, 8, 3, 39))
        matrix = _banded(weight)
        starts = range(0, CONTOURS, BAND)
        self.spans = [(max(0, s - 19), min(matrix.shape[1], s + BAND + 156)) for s in starts]
        blocks = [
            matrix[:, a:b, 8 * s : 8 * (s + BAND)] for s, (a, b) in zip(starts, self.spans, strict=True)
        ]
        for number, block in enumerate(blocks):
            self.register_buffer(f"block{number}", torch.from_numpy(np.ascontiguousarray(block)))
        self.bias = _buffer(np.tile(bias, BAND))

    def forward(self, level: Tensor) -> Tensor:
        n, frames, bins = level.shape
        rows = level.reshape(n * frames, bins)
        out = level.new_empty(n * frames, 8 * CONTOURS)
        count = n * frames - 2
        for number, (start, stop) in enumerate(self.spans):
            block = self.get_buffer(f"block{number}")
            made = out[:count, 8 * BAND * number : 8 * BAND * (number + 1)]
            torch.addmm(self.bias, rows[:count, start:stop], block[0], out=made)
            made.addmm_(rows[1 : count + 1, start:stop], block[1])
            made.addmm_(rows[2:, start:stop], block[2])
        return out.view(n, frames, CONTOURS, 8)[:, :-2].relu_()


class _ToOne(nn.Module):
    """A convolution into one channel: `(n, t, bins, channels)` to `(n, t - kt + 1, bins)`.

    One output channel fills no vector. So every tap of the kernel is applied to every place in one matrix product,
    and the results are added up, each shifted by its tap.
    """

    def __init__(self, layers: Sequence[Layer], shape: tuple[int, int, int, int]) -> None:
        super().__init__()
        weight, bias = _kernel(layers, shape)
        self.frames, self.bins = shape[2:]
        self.taps = _buffer(weight[0].transpose(1, 2, 0).reshape(-1, shape[1]))
        self.bias = _buffer(bias)

    def forward(self, x: Tensor) -> Tensor:
        n, frames, bins, channels = x.shape
        planes = (self.taps @ x.reshape(-1, channels).T).view(self.frames, self.bins, n, frames, bins)
        count = frames - self.frames + 1
        total = self.bias.expand(n, count, bins).clone()
        for later in range(self.frames):
            for tap in range(self.bins):
                shift = tap - self.bins // 2
                here = slice(max(0, -shift), bins - max(0, shift))
                there = slice(max(0, shift), bins + min(0, shift))
                total[..., here] += planes[later, tap, :, later : later + count, there]
        return total


def _harmonics(level: Tensor) -> Tensor:
    """Padded levels `(n, t, 401)` to `(n, 8, t, 264)`: channel k is the bin harmonic k above the output's bin."""
    return _channels_first(
        torch.stack([level[..., BELOW + s :][..., :CONTOURS] for s in HARMONIC_SHIFTS], -1)
    )


def _channels_first(x: Tensor) -> Tensor:
    """`(n, t, bins, c)` seen as `(n, c, t, bins)`: the memory layout that convolutions like best."""
    return x.permute(0, 3, 1, 2)


def _frames_last(x: Tensor) -> Tensor:
    """`(n, c, t, bins)` seen as `(n, t, bins, c)`."""
    return x.permute(0, 2, 3, 1)


def load(path: Path, device: str) -> Network:
    """The network with the weights of an ONNX file, in float32. Raises ModelLoadFailed."""
    network = Network(read_layers(path)).eval().requires_grad_(requires_grad=False)
    return network.to(device)


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────


def _all(layers: Sequence[Layer], op: str) -> list[Array]:
    return [constant for layer in layers if layer.op == op for constant in layer.constants]


def _one(layers: Sequence[Layer], op: str, shape: tuple[int, ...]) -> Array:
    found = [constant for constant in _all(layers, op) if constant.shape == shape]
    if not found:
        raise ModelLoadFailed(f"the weights hold no {op} of shape {shape}: they are not Basic Pitch's")
    return found[0]


def _kernel(layers: Sequence[Layer], shape: tuple[int, int, int, int]) -> tuple[Array, Array]:
    """Weight and bias of the graph's convolution of this shape: every one of the heads has its own."""
    weight = _one(layers, "Conv", shape)
    bias = next(layer.constants[1] for layer in layers if layer.constants and layer.constants[0] is weight)
    return weight, bias


def _conv(layers: Sequence[Layer], shape: tuple[int, int, int, int], padding: tuple[int, int]) -> nn.Conv2d:
    """Three bins of a semitone become one: stride 3."""
    weight, bias = _kernel(layers, shape)
    conv = nn.Conv2d(shape[1], shape[0], (shape[2], shape[3]), stride=(1, 3), padding=padding)
    conv.weight = nn.Parameter(torch.from_numpy(weight).contiguous(memory_format=torch.channels_last))
    conv.bias = nn.Parameter(torch.from_numpy(bias))
    return conv


def _distinct(parts: Sequence[Array]) -> list[Array]:
    """The real and the imaginary part: the graph repeats both for every octave."""
    others = [part for part in parts if not np.array_equal(part, parts[0])]
    if not others:
        raise ModelLoadFailed("the weights hold no constant-Q transform: they are not Basic Pitch's")
    return [parts[0], others[0]]


def _staggered(taps: Array) -> Array:
    """`(32, 1, 318)`: the filter 32 times, each two samples later. The zeros leave the sums as they are, to the bit."""
    kernels = np.zeros((HALVED_AT_ONCE, 1, TAPS + 2 * (HALVED_AT_ONCE - 1)), np.float32)
    for place in range(HALVED_AT_ONCE):
        kernels[place, 0, 2 * place : 2 * place + TAPS] = taps
    return kernels


def _banded(weight: Array) -> Array:
    """A kernel `(8, 8, 3, 39)` over stacked harmonics as matrices `(3, 401, 264 * 8)` from padded bins to outputs.
    Where the kernel reaches past the stack's 264 bins the published network sees zeros, and so does this.
    """
    channels, harmonics, frames, width = weight.shape
    matrix = np.zeros((frames, BELOW + BINS + ABOVE, CONTOURS, channels), np.float32)
    for harmonic in range(harmonics):
        for tap in range(width):
            reach = tap - width // 2
            out = np.arange(max(0, -reach), CONTOURS - max(0, reach))
            matrix[:, out + reach + HARMONIC_SHIFTS[harmonic] + BELOW, out] += weight[:, harmonic, :, tap].T[
                :, None
            ]
    return matrix.reshape(frames, -1, CONTOURS * channels)


def _buffer(array: Array) -> nn.Buffer:
    return nn.Buffer(torch.from_numpy(np.ascontiguousarray(array)))
