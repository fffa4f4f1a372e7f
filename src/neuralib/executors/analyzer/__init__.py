"""What a recording is, musically: tempo and beats, key, loudness, onsets. No weights, no GPU, and memory that hardly grows
with the recording.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from neuralib.executors import (
    AudioInfo,
    Checkpoint,
    Executor,
    FileOutput,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    Weights,
)
from neuralib.executors.onsets import Onsets, novelty_of, pick_onsets

from .beats import Beats, find_beats
from .keys import Key, find_key
from .loudness import Loudness, measure

STEPS = ("loudness", "key", "novelty", "beats", "onsets")


class AnalyzerParams(Params):
    """What a job may ask."""

    sensitivity: Annotated[
        float, Field(ge=0, le=1, description="Of onsets: 0 finds the clearest only, 1 whatever might be one.")
    ] = 0.5


class Analyzer(Executor[AnalyzerParams]):
    """Writes one analysis.json; the facts are its summary."""

    name = "analyzer"
    title = "Analyzer"
    operation = "analyze"
    code_license = "MIT"
    params = AnalyzerParams

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def plan(cls, info: AudioInfo, params: AnalyzerParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=len(STEPS))

    def run(self, recording: Recording, params: AnalyzerParams, context: RunContext) -> Output:
        total = len(STEPS)

        def at(step: str) -> Callable[[], None]:
            done = STEPS.index(step)
            return lambda: context.progress(done, total)

        loudness = measure(recording, at("loudness"))
        key = find_key(recording, at("key"))
        novelty = novelty_of(recording, at("novelty"))
        beats = find_beats(novelty, at("beats"))
        onsets = pick_onsets(recording, novelty, params.sensitivity, at("onsets"))
        facts = _summary(beats, key, loudness)
        path = context.scratch / "analysis.json"
        table = {**facts, "duration": recording.duration, **_details(beats, loudness, onsets)}
        path.write_text(json.dumps(table, separators=(",", ":")), encoding="utf-8")
        context.progress(total, total)
        return Output(
            files=(FileOutput("analysis", "analysis.json", "application/json", path, facts),),
            facts={**facts, "beats": len(beats.times), "onsets": len(onsets.times)},
        )


def _summary(beats: Beats, key: Key | None, loudness: Loudness) -> dict[str, Any]:
    """`bpm` and `key` are null where the recording has none, and loudness is in silence."""
    tempo, other = beats.tempo, beats.other
    bpm = None
    if tempo is not None and other is not None:
        bpm = {"value": round(tempo, 2), "confidence": beats.confidence, "alternative": round(other, 2)}
    named = None
    if key is not None:
        named = {"value": key.name, "camelot": key.camelot, "confidence": key.confidence}
    return {
        "bpm": bpm,
        "key": named,
        "lufs_i": loudness.integrated,
        "true_peak_dbfs": loudness.true_peak,
        "loudness_range_lu": loudness.range,
    }


def _details(beats: Beats, loudness: Loudness, onsets: Onsets) -> dict[str, Any]:
    """Times in seconds; loudness in LUFS, once a second."""
    return {
        "beats": [round(time, 4) for time in beats.times.tolist()],
        "onsets": [
            {"time": round(time, 6), "strength": round(strength, 3)}
            for time, strength in zip(onsets.times.tolist(), onsets.strengths.tolist(), strict=True)
        ],
        "loudness": list(loudness.curve),
    }
