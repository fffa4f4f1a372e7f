"""How often the analyzer is right: 36 generated songs whose tempo and key are known, and 18 drum parts whose strokes are.

    python scripts/bench/analysis.py

Right is a tempo within 2 % of the song's, or one whose reported alternative is; a key that is the song's or its relative;
an onset within 50 ms (mir_eval). Exit code 1 when a floor is missed. How fast it is depends on the machine, the rest does
not.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import mir_eval.onset
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import songs
from neuralib.audio import RecordingWriter
from neuralib.executors import RunContext
from neuralib.executors.analyzer import Analyzer, AnalyzerParams

TEMPO_FLOOR, KEY_FLOOR, ONSET_FLOOR = 0.9, 0.8, 0.9
WITHIN = 0.02
DRUM_TEMPI = (80, 120, 160)


def analysed(samples: NDArray[np.float32]) -> tuple[dict, float]:
    """What analysis.json says, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        with RecordingWriter(Path(folder) / "input.f32", songs.RATE, len(samples)) as writer:
            writer.write(samples)
            recording = writer.close()
        began = time.perf_counter()
        context = RunContext(scratch=Path(folder), report=lambda *_: None)
        (file,) = Analyzer().run(recording, AnalyzerParams(), context).files
        return json.loads(file.path.read_text()), time.perf_counter() - began


def near(value: float | None, tempo: float) -> bool:
    return value is not None and abs(value / tempo - 1) <= WITHIN


def tempo_verdict(found: dict | None, tempo: float) -> str:
    if found is None:
        return "none"
    if near(found["value"], tempo):
        return "right"
    return "double or half" if near(found.get("alternative"), tempo) else "wrong"


def key_verdict(found: dict | None, plan: songs.Plan) -> str:
    if found is None:
        return "none"
    if found["value"] == plan.key:
        return "right"
    shift, other = (9, "minor") if plan.mode == "major" else (3, "major")
    return "relative" if found["value"] == f"{songs.NAMES[(plan.tonic + shift) % 12]} {other}" else "wrong"


def main() -> int:
    print("| song | tempo | found | | key | found | |\n|---|--:|--:|---|---|---|---|")
    tempi, keys, sounded, spent = [], [], 0.0, 0.0
    for plan in songs.plans():
        song = songs.render(plan)
        table, seconds = analysed(song.samples)
        sounded, spent = sounded + plan.seconds, spent + seconds
        bpm, key = table["bpm"], table["key"]
        tempi.append(tempo_verdict(bpm, plan.tempo))
        keys.append(key_verdict(key, plan))
        shown = f"{bpm['value']:.1f}" if bpm else "–"
        what = f"{plan.pattern or 'no drums'}, {plan.comping}{', swung' if plan.swing else ''}"
        print(
            f"| {what} | {plan.tempo:.1f} | {shown} | {tempi[-1]} | {plan.key} | {key['value'] if key else '–'} | {keys[-1]} |"
        )
    measures = []
    for pattern in songs.PATTERNS:
        for tempo in DRUM_TEMPI:
            part = songs.drums(tempo, pattern)
            table, _ = analysed(part.samples)
            found = np.array([each["time"] for each in table["onsets"]])
            measures.append(mir_eval.onset.f_measure(songs.merged(part.strokes), found, window=0.05)[0])
    good_tempi = np.mean([each in {"right", "double or half"} for each in tempi])
    good_keys = np.mean([each in {"right", "relative"} for each in keys])
    print(
        f"\ntempo: {tempi.count('right')} right, {tempi.count('double or half')} as double or half, of {len(tempi)}: {good_tempi:.0%}"
    )
    print(
        f"key: {keys.count('right')} right, {keys.count('relative')} relative, of {len(keys)}: {good_keys:.0%}"
    )
    print(
        f"onsets of drums: F {np.mean(measures):.3f} in the mean of {len(measures)}, {min(measures):.3f} at worst"
    )
    print(f"{sounded / spent:.0f} times real time")
    return int(good_tempi < TEMPO_FLOOR or good_keys < KEY_FLOOR or np.mean(measures) < ONSET_FLOOR)


if __name__ == "__main__":
    raise SystemExit(main())
