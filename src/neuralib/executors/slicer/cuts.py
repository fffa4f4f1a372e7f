"""Where to cut: spans in samples, in order of time, by each of the methods."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuralib.audio import Recording
from neuralib.audio.spans import frames_between
from neuralib.executors.onsets import find_onsets, is_silent

from .params import MAX_SLICES, SliceParams

Frames = NDArray[np.int64]
Tick = Callable[[], None]
"""Called at least once a second of computing; what it raises passes through."""

ZERO_WITHIN_S = 0.005
ONSET_WITHIN_S = 0.050
BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class Cut:
    """Samples [start, end) of the recording."""

    start: int
    end: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be cut, and how many there were before `max_n`. `reason` says why there is nothing."""

    cuts: list[Cut]
    count: int
    reason: str | None = None


def find_cuts(recording: Recording, params: SliceParams, tick: Tick) -> Found:
    """The recording is read once where the method or the snapping listens to it, and not at all otherwise."""
    listens = params.method == "onsets" or params.snap == "onset"
    onsets = _onsets(recording, params, tick) if listens else None
    found = _METHODS[params.method](recording, params, tick, onsets)
    return Found(_snapped(recording, found.cuts, params, onsets), found.count, found.reason)


def _onsets(recording: Recording, params: SliceParams, tick: Tick) -> Frames:
    times = find_onsets(recording, params.sensitivity, tick).times
    return np.unique(np.rint(times * recording.sample_rate).astype(np.int64))


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────


def _by_regions(recording: Recording, params: SliceParams, _tick: Tick, _onsets: Frames | None) -> Found:
    cuts = []
    for i, region in enumerate(params.regions):
        first, stop = frames_between(
            region.start_s,
            region.end_s,
            sample_rate=recording.sample_rate,
            frames=recording.frames,
            pointer=f"/params/regions/{i}",
        )
        cuts.append(Cut(first, stop, region.name))
    cuts.sort(key=lambda cut: (cut.start, cut.end))
    return Found(cuts, len(cuts))


def _by_onsets(recording: Recording, params: SliceParams, tick: Tick, onsets: Frames | None) -> Found:
    """From each onset to the next, the last to the end. What sounds without ever beginning is one slice."""
    assert onsets is not None
    starts = _apart(onsets, params.min_ms, recording.sample_rate)
    if not starts and not is_silent(recording, tick):
        starts = [0]
    if not starts:
        return Found([], 0, "the recording is silent")
    return _first([Cut(a, b) for a, b in pairwise([*starts, recording.frames])], params)


def _by_grid(recording: Recording, params: SliceParams, _tick: Tick, _onsets: Frames | None) -> Found:
    """From line to line. After the last line one slice more, as long as the one before it or to the end."""
    rate, frames = recording.sample_rate, recording.frames
    lines = np.rint(_lines(recording, params) * rate)
    lines = np.unique(lines[lines < frames].astype(np.int64))
    starts = _apart(lines, params.min_ms, rate)
    if not starts:
        return Found([], 0, "no line of the grid lies in the recording")
    last = starts[-1] - starts[-2] if len(starts) > 1 else frames
    cuts = [Cut(a, b) for a, b in pairwise([*starts, min(starts[-1] + last, frames)])]
    if len(cuts) > 1 and cuts[-1].end - cuts[-1].start < params.min_ms / 1000 * rate:
        cuts.pop()
    return _first(cuts, params)


def _lines(recording: Recording, params: SliceParams) -> NDArray[np.float64]:
    """Seconds."""
    step = params.beats_per_slice
    if params.bpm is not None:
        period = 60 / params.bpm * step
        return np.arange(params.offset_s % period, recording.duration, period)
    beats = np.asarray(params.beats)
    if beats.size == 0:
        return beats
    lines: NDArray[np.float64] = np.interp(
        np.arange(0, len(beats) - 1 + 1e-9, step), np.arange(len(beats)), beats
    )
    return lines


def _by_parts(recording: Recording, params: SliceParams, _tick: Tick, _onsets: Frames | None) -> Found:
    assert params.parts is not None
    lines = [recording.frames * i // params.parts for i in range(params.parts + 1)]
    return Found([Cut(a, b) for a, b in pairwise(lines)], params.parts)


def _by_silence(recording: Recording, params: SliceParams, tick: Tick, _onsets: Frames | None) -> Found:
    """From the first sample that is not silent to the last one before a silence that is long enough."""
    rate = recording.sample_rate
    shortest = max(params.min_ms / 1000 * rate, 1)
    cuts, count = [], 0
    for start, end in _sounding(recording, params, tick):
        if end - start >= shortest:
            count += 1
            if count <= min(params.max_n, MAX_SLICES):
                cuts.append(Cut(start, end))
    reason = None if count else f"nothing rises above {params.silence_db:g} dBFS for {params.min_ms:g} ms"
    return Found(cuts, count, reason)


def _sounding(recording: Recording, params: SliceParams, tick: Tick) -> Iterator[tuple[int, int]]:
    """Spans whose silences are all too short to divide them."""
    threshold = 10 ** (params.silence_db / 20)
    longest_gap = max(round(params.min_silence_ms / 1000 * recording.sample_rate), 1)
    start = last = -1
    done = 0
    for block in recording.blocks(BLOCK_S * recording.sample_rate):
        tick()
        loud = np.flatnonzero(np.abs(block).max(axis=0) >= threshold) + done
        done += block.shape[1]
        if loud.size == 0:
            continue
        if start < 0:
            start = last = int(loud[0])
        whole = np.concatenate(([last], loud))
        for i in np.flatnonzero(np.diff(whole) > longest_gap):
            yield start, int(whole[i]) + 1
            start = int(whole[i + 1])
        last = int(loud[-1])
    if start >= 0:
        yield start, last + 1


_METHODS: dict[str, Callable[[Recording, SliceParams, Tick, Frames | None], Found]] = {
    "regions": _by_regions,
    "onsets": _by_onsets,
    "grid": _by_grid,
    "equal": _by_parts,
    "silence": _by_silence,
}


def _apart(lines: Frames, min_ms: float, rate: int) -> list[int]:
    """Without those that follow another one too soon."""
    kept: list[int] = []
    for line in lines.tolist():
        if not kept or line - kept[-1] >= max(min_ms / 1000 * rate, 1):
            kept.append(line)
    return kept


def _first(cuts: Sequence[Cut], params: SliceParams) -> Found:
    return Found(list(cuts[: params.max_n]), len(cuts))


# ── snapping ──────────────────────────────────────────────────────────────────────────────────────────


def _snapped(recording: Recording, cuts: list[Cut], params: SliceParams, onsets: Frames | None) -> list[Cut]:
    """The same line is moved to the same place, so that slices which touched still do. A slice that would vanish stays
    as it was.
    """
    if params.snap == "none" or (params.snap == "onset" and params.method == "onsets"):
        return cuts
    ahead = 0.0 if params.method == "onsets" else ZERO_WITHIN_S
    moved: dict[int, int] = {0: 0, recording.frames: recording.frames}
    for line in sorted({line for cut in cuts for line in (cut.start, cut.end)} - moved.keys()):
        if params.snap == "zero":
            moved[line] = _to_zero(recording, line, ahead)
        else:
            assert onsets is not None
            moved[line] = _to_onset(line, onsets, recording.sample_rate)
    snapped = [Cut(moved[cut.start], moved[cut.end], cut.name) for cut in cuts]
    return [new if new.end > new.start else cut for cut, new in zip(cuts, snapped, strict=True)]


def _to_zero(recording: Recording, line: int, ahead_s: float) -> int:
    """The nearest sample at which the mean of the channels has changed its sign, or is nought."""
    rate = recording.sample_rate
    first = max(line - max(round(ZERO_WITHIN_S * rate), 1), 1)
    last = min(line + round(ahead_s * rate), recording.frames - 1)
    if last < first:
        return line
    mean = recording.read(first - 1, last + 1).mean(axis=0)
    crossings = np.flatnonzero(mean[:-1] * mean[1:] <= 0) + first
    return int(crossings[np.abs(crossings - line).argmin()]) if crossings.size else line


def _to_onset(line: int, onsets: Frames, rate: int) -> int:
    if onsets.size == 0:
        return line
    nearest = int(onsets[np.abs(onsets - line).argmin()])
    return nearest if abs(nearest - line) <= ONSET_WITHIN_S * rate else line
