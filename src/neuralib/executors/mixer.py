"""Mixer: several recordings as one, with gain, pan and offset of each. It has no weights and guesses nothing: tracks at
their own level add up to what they were parts of, to the last bit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neuralib.audio import resample, resampled_frames
from neuralib.errors import FieldError, InputUnsupported

from . import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    InputInfo,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RecordingWriter,
    RunContext,
    Takes,
    ValidationFailed,
    Weights,
)

MOST_INPUTS = 32
BLOCK = 1 << 16
"""Frames that are mixed at a time."""


class Track(Params):
    """One input's part in the mix. An input may have several."""

    input: Annotated[
        Annotated[int, Field(ge=0, lt=MOST_INPUTS)] | Annotated[str, Field(max_length=64)],
        Field(description="Which of the job's inputs: its place, from 0, or its name."),
    ]
    gain_db: Annotated[float, Field(ge=-120, le=40, allow_inf_nan=False)] = 0.0
    pan: Annotated[
        float,
        Field(
            ge=-1,
            le=1,
            description="-1 left, 1 right. A balance: it turns the other side down and leaves the centre as it is.",
        ),
    ] = 0.0
    mute: Annotated[bool, Field(description="Not heard; the mix is as long as if it were.")] = False
    offset_s: Annotated[
        float, Field(ge=-14_400, le=14_400, description="When it begins; what lies before 0 is cut off.")
    ] = 0.0


class MixerParams(Params):
    """How to mix."""

    tracks: Annotated[
        tuple[Track, ...], Field(max_length=64, description="Empty: every input once, as it is.")
    ] = ()
    normalize: Annotated[
        Literal["none", "peak"],
        Field(description="peak: turn the whole mix up or down until its loudest sample is at `peak_dbfs`."),
    ] = "none"
    peak_dbfs: Annotated[float, Field(ge=-60, le=0)] = -1.0
    name: Annotated[
        str, Field(pattern=r"^\w[\w ()+&,.-]{0,63}$", description="What the mix is called, behind the track.")
    ] = "mix"


class Mixer(Executor[MixerParams]):
    """Adds recordings up. Sample rate and sample format are the first input's, and others are resampled. There are as
    many channels as the widest track has; mono goes to both sides.
    """

    name = "mixer"
    title = "Mixer"
    operation = "mix"
    code_license = "MIT"
    params = MixerParams
    takes = (Takes("audio", most=MOST_INPUTS),)

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def check(cls, inputs: Sequence[InputInfo], params: MixerParams) -> None:
        """Raises ValidationFailed for a track whose input is not there, whose pan has no sides, or of which nothing is
        left; InputUnsupported for channels that do not go together.
        """
        _layout([_Source(each.name, each.audio) for each in inputs if each.audio], params)

    @classmethod
    def plan(cls, info: AudioInfo, params: MixerParams, checkpoint: Checkpoint | None) -> Plan:
        """For tracks no longer than the first input and of its sample rate."""
        return Plan(windows=_passes(params) * _blocks(info.frames))

    def run(self, recording: Recording, params: MixerParams, context: RunContext) -> Output:
        given = [each.content for each in context.inputs if isinstance(each.content, Recording)]
        names = [each.name for each in context.inputs]
        layout = _layout([_Source(*each) for each in zip(names, given, strict=True)], params)
        heard = {strip.place for strip in layout.strips if not strip.track.mute}
        foreign = {place for place in heard if given[place].sample_rate != layout.rate}
        resampled = sum(_blocks(given[place].frames) + 1 for place in foreign)
        steps = _Steps(context, resampled + _passes(params) * _blocks(layout.frames))
        at_rate = {
            place: _resampled(given[place], context.scratch / f"{place}.f32", layout.rate, steps)
            if place in foreign
            else given[place]
            for place in sorted(heard)
        }
        mix, peak = _mixed(layout, at_rate, context.writer("mix", recording, channels=layout.channels), steps)
        gain_db = 0.0
        if params.normalize == "peak" and peak:
            gain_db = params.peak_dbfs - _db(peak)
            mix = _turned(mix, _factor(gain_db), context.writer("turned", mix), steps)
        facts = {
            "tracks": [
                _facts(strip, given[strip.place], names[strip.place], layout.rate) for strip in layout.strips
            ],
            "normalized_db": round(gain_db, 2),
            "peak_dbfs": round(_db(peak) + gain_db, 2) if peak else None,
        }
        return Output(audio=(AudioOutput("mix", params.name, mix, facts),), facts=facts)


# ── what goes where ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Source:
    """An input by its name, decoded or not yet."""

    name: str | None
    audio: AudioInfo | Recording


@dataclass(frozen=True, slots=True)
class _Strip:
    """A track: which input, and its first and last frame in the mix."""

    track: Track
    place: int
    start: int
    end: int
    gains: NDArray[np.float64]
    """`(channels, 1)`"""


@dataclass(frozen=True, slots=True)
class _Layout:
    """All tracks, and what they come to. `frames` counts those that are muted, so that muting moves nothing."""

    strips: Sequence[_Strip]
    rate: int
    channels: int
    frames: int


def _layout(sources: Sequence[_Source], params: MixerParams) -> _Layout:
    tracks = params.tracks or tuple(Track(input=place) for place in range(len(sources)))
    places = [_place(number, track, sources) for number, track in enumerate(tracks)]
    channels = _width(tracks, [sources[place].audio.channels for place in places])
    rate = sources[0].audio.sample_rate
    strips = []
    for track, place in zip(tracks, places, strict=True):
        start = round(track.offset_s * rate)
        end = start + _frames_at(rate, sources[place].audio)
        strips.append(_Strip(track, place, start, end, _gains(track, channels)))
    frames = max(strip.end for strip in strips)
    if frames <= 0:
        _refuse("/params/tracks", "nothing of the tracks lies behind 0 s")
    return _Layout(strips, rate, channels, frames)


def _place(number: int, track: Track, sources: Sequence[_Source]) -> int:
    for place, source in enumerate(sources):
        if track.input in {place, source.name}:
            return place
    return _refuse(f"/params/tracks/{number}/input", f"no input is called {track.input!r}")


def _width(tracks: Sequence[Track], channels: Sequence[int]) -> int:
    """Of the mix; a mono track that is panned needs two sides."""
    panned = [number for number, track in enumerate(tracks) if track.pan]
    width = max(*channels, 2 if panned else 1)
    if panned and width > 2:
        _refuse(f"/params/tracks/{panned[0]}/pan", f"{width} channels have no left and right to pan between")
    for each in channels:
        if each != width and (each, width) != (1, 2):
            raise InputUnsupported(f"tracks of {each} and of {width} channels do not mix")
    return width


def _gains(track: Track, channels: int) -> NDArray[np.float64]:
    sides = np.ones((channels, 1))
    if track.pan:
        sides[:, 0] = min(1.0, 1.0 - track.pan), min(1.0, 1.0 + track.pan)
    return sides * _factor(track.gain_db)


def _refuse(pointer: str, message: str) -> NoReturn:
    raise ValidationFailed(message, fields=[FieldError(pointer, "unusable", message)])


# ── the sound ─────────────────────────────────────────────────────────────────────────────────────────


class _Steps:
    """Tells how far the run is, one block after another."""

    def __init__(self, context: RunContext, total: int) -> None:
        self._context, self._total, self._done = context, total, 0
        context.progress(0, total)

    def take(self) -> None:
        self._done = min(self._done + 1, self._total)
        self._context.progress(self._done, self._total)


def _resampled(recording: Recording, into: Path, rate: int, steps: _Steps) -> Recording:
    resampling = resample(recording, into, rate)
    while True:
        try:
            next(resampling)
        except StopIteration as end:
            made: Recording = end.value
            return made
        steps.take()


def _mixed(
    layout: _Layout, at_rate: Mapping[int, Recording], out: RecordingWriter, steps: _Steps
) -> tuple[Recording, float]:
    """The mix and its peak. Added up in float64: sums of many tracks need more bits than each of them has."""
    peak = 0.0
    with out:
        for start in range(0, layout.frames, BLOCK):
            sums = np.zeros((layout.channels, min(BLOCK, layout.frames - start)))
            for strip in layout.strips:
                first, last = max(start, strip.start), min(start + sums.shape[1], strip.end)
                if first < last and not strip.track.mute:
                    part = at_rate[strip.place].read(first - strip.start, last - strip.start)
                    sums[:, first - start : last - start] += part * strip.gains
            block = sums.astype(np.float32)
            peak = max(peak, float(np.abs(block).max()))
            out.write(block)
            steps.take()
        return out.close(), peak


def _turned(mix: Recording, factor: float, out: RecordingWriter, steps: _Steps) -> Recording:
    with out:
        for block in mix.blocks(BLOCK):
            out.write((block * factor).astype(np.float32))
            steps.take()
    mix.path.unlink()
    return out.close()


def _facts(strip: _Strip, given: Recording, name: str | None, rate: int) -> dict[str, Any]:
    """What became of a track, so that nothing was done to it in silence. `resampled_from`: its own sample rate."""
    track = strip.track
    return {
        "input": strip.place if name is None else name,
        "gain_db": track.gain_db,
        "pan": track.pan,
        "mute": track.mute,
        "start_frame": strip.start,
        "resampled_from": given.sample_rate if given.sample_rate != rate and not track.mute else None,
    }


def _passes(params: MixerParams) -> int:
    return 1 if params.normalize == "none" else 2


def _blocks(frames: int) -> int:
    return -(-frames // BLOCK)


def _frames_at(rate: int, audio: AudioInfo | Recording) -> int:
    return resampled_frames(audio.frames, audio.sample_rate, rate)


def _factor(db: float) -> float:
    """0 dB is 1, exactly."""
    return float(10.0 ** (db / 20))


def _db(factor: float) -> float:
    return 20 * math.log10(factor)
