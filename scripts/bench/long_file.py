"""Separate a long recording and watch memory, progress and the estimate of the time left.

    python scripts/bench/long_file.py [--minutes 120] [--weights hdemucs_mini]

Memory must not grow with the recording, progress must rise, and after the first tenth the time that is said to be
left must be right within a quarter.
"""

import sys

sys.path.pop(0)  # this folder holds a queue.py, which is not Python's

import argparse
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuralib.audio import Recording, RecordingWriter
from neuralib.executors import RunContext
from neuralib.executors.demucs import CHECKPOINTS, Demucs, DemucsParams
from neuralib.weights import Resolver

RATE = 44_100


def recording(path: Path, minutes: float) -> Recording:
    rng = np.random.default_rng(0)
    second = np.arange(RATE) / RATE
    with RecordingWriter(path, RATE, 2) as writer:
        for index in range(round(minutes * 60)):
            tone = 0.2 * np.sin(2 * np.pi * (220 + index % 440) * second)
            writer.write((tone + 0.05 * rng.standard_normal((2, RATE))).astype(np.float32))
        return writer.close()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--weights", default="hdemucs_mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        executor = Demucs()
        resolver = Resolver(folder / "cache", allow_untrained=True)
        executor.load(resolver.resolve("demucs", CHECKPOINTS, options.weights), "cpu", "fp32")
        mix = recording(folder / "mix.f32", options.minutes)
        heard: list[tuple[float, int, int]] = []
        peaks: dict[int, float] = {}

        def report(done: int, total: int) -> None:
            heard.append((time.monotonic(), done, total))
            tenth = 10 * done // total
            if tenth not in peaks:
                peaks[tenth] = peak_mib()
                print(f"{10 * tenth:3d} %  {peaks[tenth]:.0f} MiB at most so far", flush=True)

        output = executor.run(mix, DemucsParams(), RunContext(folder, report))
        frames = {audio.recording.frames for audio in output.audio}
    return judged(heard, peaks, whole=frames == {mix.frames}, minutes=options.minutes)


def judged(
    heard: list[tuple[float, int, int]], peaks: dict[int, float], *, whole: bool, minutes: float
) -> int:
    start, end = heard[0][0], heard[-1][0]
    rising = all(before[1] <= after[1] for before, after in pairwise(heard))
    # The time left as a client works it out: what has passed, over what is done.
    errors = [
        abs((now - start) * (total - done) / done / (end - now) - 1)
        for now, done, total in heard
        if 0.1 <= done / total <= 0.9
    ]
    growth = peaks[10] - peaks[1]
    print(
        f"{minutes:g} minutes in {end - start:.0f} s ({60 * minutes / (end - start):.1f} x real time); "
        f"at most {peaks[10]:.0f} MiB, {growth:+.0f} MiB after the first tenth; frames kept: {whole}; "
        f"progress rises: {rising}; time left wrong by {max(errors):.0%} at worst"
    )
    return 0 if whole and rising and peaks[10] < 4096 and growth < 64 and max(errors) < 0.25 else 1


if __name__ == "__main__":
    sys.exit(main())
