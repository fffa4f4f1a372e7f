"""Samples from a recording: cut by regions, onsets, a grid, equal parts or silence, named, told apart and grouped.

params.py       what a job may ask
cuts.py         where to cut
cutting.py      cutting: each sample of the input is read once, however many slices there are
hearing.py      listening to them on the way: features.py, classes.py say what they are, likeness.py which are alike
names.py        what slices are called
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neuralib.executors import (
    AudioInfo,
    AudioOutput,
    Checkpoint,
    Executor,
    InputInfo,
    Output,
    Plan,
    Precision,
    Recording,
    RunContext,
    Takes,
    ValidationFailed,
    Weights,
)

from .classes import UNHEARD, Verdict, classifier
from .cuts import Cut, find_cuts
from .cutting import cut_out, without_tail
from .features import features_of
from .hearing import Ear, listen
from .likeness import Group, Picture, groups_of, picture_of
from .names import names_of
from .params import MAX_BEATS, SliceParams

__all__ = ["SliceParams", "Slicer"]


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice, written, and what was heard of it."""

    cut: Cut
    recording: Recording
    verdict: Verdict | None
    picture: Picture | None


class Slicer(Executor[SliceParams]):
    """Cuts a recording into samples. What their facts say is in `_facts`."""

    name = "slicer"
    title = "Slicer"
    operation = "slice"
    code_license = "MIT"
    params = SliceParams
    takes = (Takes("audio"), Takes("analysis", least=0, most=1, media_types=("application/json",)))

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def plan(cls, info: AudioInfo, params: SliceParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=2 * _seconds(info.frames, info.sample_rate))

    @classmethod
    def check(cls, inputs: Sequence[InputInfo], params: SliceParams) -> None:
        assert inputs[0].audio is not None
        params.check(inputs[0].audio, analysed=len(inputs) > 1)

    def run(self, recording: Recording, params: SliceParams, context: RunContext) -> Output:
        if params.needs_beats:
            params = params.model_copy(update={"beats": _beats(context)})
        progress = _Progress(context, _seconds(recording.frames, recording.sample_rate))
        found = find_cuts(recording, params, progress.listened)
        progress.begin_cutting(found.cuts)
        made = [_cut(recording, cut, n, params, context, progress) for n, cut in enumerate(found.cuts, 1)]
        progress.end()
        groups = _grouped(made, params)
        facts = [_facts(each, n, group) for n, (each, group) in enumerate(zip(made, groups, strict=True), 1)]
        names = names_of(params.name_template, [_fields(each, params) for each in facts])
        facts_of_all = {
            "method": params.method,
            "found": found.count,
            "slices": len(made),
            "limited": found.count > len(made),
            "reason": found.reason,
            "classes": dict(Counter(each["class"] for each in facts if each["class"])),
            "groups": len({group.number for group in groups if group}),
        }
        outputs = [
            AudioOutput("sample", f"slice-{each['n']:04}", one.recording, facts=each, label=name)
            for one, each, name in zip(made, facts, names, strict=True)
        ]
        return Output(audio=tuple(outputs), facts=facts_of_all)


def _beats(context: RunContext) -> tuple[float, ...]:
    """Those that the analyzer heard; none when it heard none. Raises ValidationFailed."""
    try:
        beats = json.loads(context.files("analysis")[0].read_bytes())["beats"]
        return tuple(sorted({float(beat) for beat in beats[:MAX_BEATS]}))
    except (ValueError, KeyError, TypeError) as error:
        raise ValidationFailed("the analysis has no beats that can be read") from error


class _Progress:
    """Seconds of the recording, twice: listened to, then cut."""

    def __init__(self, context: RunContext, seconds: int) -> None:
        self._context = context
        self._seconds = seconds
        self._ticks = 0
        self._cut = 0
        self._to_cut = 1

    def listened(self) -> None:
        """Some of it; how much the listeners do not say."""
        self._ticks += 1
        self._context.progress(min(self._ticks, self._seconds), 2 * self._seconds)

    def begin_cutting(self, cuts: Sequence[Cut]) -> None:
        self._to_cut = sum(cut.end - cut.start for cut in cuts) or 1
        self.cut(0)

    def cut(self, frames: int) -> None:
        self._cut += frames
        done = self._seconds + self._seconds * self._cut // self._to_cut
        self._context.progress(min(done, 2 * self._seconds), 2 * self._seconds)

    def end(self) -> None:
        self._context.progress(2 * self._seconds, 2 * self._seconds)


def _seconds(frames: int, sample_rate: int) -> int:
    return max(1, -(-frames // sample_rate))


def _cut(
    recording: Recording, cut: Cut, n: int, params: SliceParams, context: RunContext, progress: _Progress
) -> _Slice:
    kept = cut if params.tail_db is None else without_tail(recording, cut, params.tail_db)
    ear = Ear(recording.sample_rate)
    with context.writer(f"slice-{n:04}", recording) as out:
        for frames in cut_out(recording, kept, out, params.fade_ms / 1000, ear.hear):
            progress.cut(frames)
        return _heard(kept, out.close(), ear, params)


def _heard(cut: Cut, recording: Recording, ear: Ear, params: SliceParams) -> _Slice:
    sound = listen(ear.head(), recording.duration) if params.classify or params.dedupe else None
    verdict = classifier().classify(features_of(sound)) if sound else UNHEARD
    picture = picture_of(sound, recording.duration) if sound else None
    return _Slice(cut, recording, verdict if params.classify else None, picture)


def _grouped(made: Sequence[_Slice], params: SliceParams) -> Sequence[Group | None]:
    if params.dedupe is None:
        return [None] * len(made)
    return groups_of([each.picture for each in made], params.dedupe)


def _facts(made: _Slice, n: int, group: Group | None) -> dict[str, Any]:
    """Of one slice: its number by time; the span [start, end) of the input that it holds, in samples and in seconds; the
    name of the region that it was cut by; what it is, and how sure that is; the group of those that it is alike.
    """
    cut, rate = made.cut, made.recording.sample_rate
    return {
        "n": n,
        "start_s": cut.start / rate,
        "end_s": cut.end / rate,
        "start_frame": cut.start,
        "end_frame": cut.end,
        "region": cut.name,
        "class": made.verdict.name if made.verdict else None,
        "confidence": made.verdict.confidence if made.verdict else None,
        "group": group.number if group else None,
        "representative": group.representative if group else True,
    }


def _fields(facts: dict[str, Any], params: SliceParams) -> dict[str, Any]:
    """What a template may name."""
    start = f"{facts['start_s']:.3f}"
    bpm = f"{params.bpm:g}" if params.bpm is not None else None
    return {
        "n": facts["n"],
        "name": facts["region"],
        "start": start,
        "bpm": bpm,
        "class": facts["class"] or "slice",
        "group": facts["group"],
    }
