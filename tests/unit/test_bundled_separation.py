"""The bundled separator hears music: what it is given as drums, bass, other and vocals comes back as such.

`tests/data/multitrack.ogg` holds five seconds of the demo song (ours, CC0), a channel a stem.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralib.audio import RecordingWriter, Samples
from neuralib.executors import Output, RunContext
from neuralib.executors.demucs import CHECKPOINTS, Demucs, DemucsParams
from neuralib.weights import Resolver

STEMS = ("drums", "bass", "other", "vocals")
BETTER = 5.0
"""dB that a stem must lie nearer to its truth than the mix does; measured: at least 8.4."""
LOUD = (0.35, 1.4)
"""How much of the truth a stem may hold: what is not sure of itself is quiet; measured: 0.54 to 0.80."""


def distance(truth: Samples, said: Samples) -> float:
    """SDR in dB over the whole track."""
    return float(10 * np.log10((truth**2).sum() / max(((truth - said) ** 2).sum(), 1e-12)))


def complaints(truth: Samples, said: Samples) -> list[str]:
    """What is wrong with the stems (4, frames) that a separator says, held to the true ones."""
    mix, wrong = truth.sum(axis=0), []
    for index, name in enumerate(STEMS):
        gain = distance(truth[index], said[index]) - distance(truth[index], mix)
        if gain < BETTER:
            wrong.append(f"{name} is {gain:.1f} dB better than the mix")
        share = float((truth[index] * said[index]).sum() / (truth[index] ** 2).sum())
        if not LOUD[0] < share < LOUD[1]:
            wrong.append(f"{name} holds {share:.2f} of itself")
        alike = [float(np.corrcoef(truth[index], other)[0, 1]) if other.any() else 0.0 for other in said]
        if int(np.argmax(alike)) != index:
            wrong.append(f"{name} sounds most like {STEMS[int(np.argmax(alike))]}")
    return wrong


@pytest.fixture(scope="module")
def truth() -> Samples:
    path = Path(__file__).parents[1] / "data" / "multitrack.ogg"
    samples, _ = soundfile.read(path, dtype="float32")
    return np.ascontiguousarray(samples.T)


@pytest.fixture(scope="module")
def output(truth: Samples, tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder = tmp_path_factory.mktemp("separation")
    with RecordingWriter(folder / "mix.f32", 44_100, 1) as writer:
        writer.write(truth.sum(axis=0, keepdims=True))
        mix = writer.close()
    executor = Demucs()
    executor.load(Resolver(folder, offline=True).resolve("demucs", CHECKPOINTS), "cpu", "fp32")
    return executor.run(mix, DemucsParams(), RunContext(folder, lambda *_: None))


@pytest.fixture(scope="module")
def separated(output: Output) -> Samples:
    stems = {audio.name: audio.recording.read()[0] for audio in output.audio}
    return np.stack([stems[name] for name in STEMS])


def test_the_box_separates_music_offline(truth, separated):
    assert complaints(truth, separated) == []


def test_its_stems_add_up_each_with_its_part_of_what_was_missing(output):
    assert output.facts["exact"]
    assert output.facts["sharing"] == "magnitude"
    assert output.facts["null_dbfs"] < -120


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_swapped_stems_would_be_noticed(truth, separated, first, second):
    order = list(range(4))
    order[first], order[second] = second, first
    assert bool(complaints(truth, separated[order])) == (first != second)


@pytest.mark.parametrize("stem", range(4))
@pytest.mark.parametrize("gain", [0.0, 0.3, 3.0, -1.0])
def test_a_silent_or_a_scaled_stem_would_be_noticed(truth, separated, stem, gain):
    changed = separated.copy()
    changed[stem] *= gain
    assert any(line.startswith(STEMS[stem]) for line in complaints(truth, changed))


def test_the_mix_in_place_of_stems_would_be_noticed(truth):
    mix = np.broadcast_to(truth.sum(axis=0), truth.shape)
    assert len(complaints(truth, mix)) >= len(STEMS)
