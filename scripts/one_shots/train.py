"""Trains the classifier of one-shots, measures it on sounds from sources that it never heard, and writes its weights.

ONE_SHOTS_SAMPLES=package/samples python scripts/one_shots/train.py src/neuralib/executors/slicer/one_shots.json
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from drums import KINDS, RATE, Audio, Rng
from sources import FLUID, KITS, PITCHED, TIM, samples, soundfont, spoken

from neuralib.executors.slicer.classes import CLASSES, Classifier
from neuralib.executors.slicer.features import features_of
from neuralib.executors.slicer.hearing import HEAD_S, listen

SEED = 7
FORMULAS = 160
COPIES = 1
LOOPS = 500
HIDDEN = 32
EPOCHS = 400

Shot = tuple[str, Audio]


def heard(sound: Audio) -> np.ndarray | None:
    found = listen(sound[: round(HEAD_S * RATE)], len(sound) / RATE)
    return None if found is None else features_of(found)


def roughened(sound: Audio, rng: Rng, others: list[Audio]) -> Audio:
    """As it may be met in a song: another pitch, cut short by the next hit, with noise, colour and what rang before."""
    speed = 2 ** rng.uniform(-0.25, 0.25)
    places = np.arange(0, len(sound) - 1, speed)
    sound = np.interp(places, np.arange(len(sound)), sound)
    if rng.random() < 0.4:
        sound = sound[: round(rng.uniform(0.12, 1.0) * RATE)]
    sound = sound / (np.abs(sound).max() + 1e-9)
    if rng.random() < 0.4:
        tail = others[rng.integers(len(others))]
        tail = tail[round(rng.uniform(0.05, 0.3) * RATE) :][: len(sound)]
        if len(tail):
            scale = 10 ** rng.uniform(-2.2, -0.9) / (np.abs(tail).max() + 1e-9)
            sound[: len(tail)] += tail * scale
    if rng.random() < 0.5:
        size = len(sound) * 2
        hertz = np.fft.rfftfreq(size, 1 / RATE)
        tilt = (np.maximum(hertz, 40) / 1000) ** rng.uniform(-0.35, 0.35)
        tilt /= np.sqrt(1 + (hertz / rng.choice([6000, 9000, 14_000, 22_000])) ** 12)
        sound = np.fft.irfft(np.fft.rfft(sound, size) * tilt)[: len(sound)]
    if rng.random() < 0.3:
        room = rng.standard_normal(round(rng.uniform(0.05, 0.4) * RATE))
        room *= np.exp(-np.arange(len(room)) / (len(room) / 5)) * rng.uniform(0.005, 0.03)
        room[0] = 1
        size = len(sound) + len(room)
        sound = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(room, size), size)
    return sound + rng.standard_normal(len(sound)) * 10 ** rng.uniform(-4.5, -2.5)


def loop(shots: dict[str, list[Audio]], rng: Rng) -> Audio:
    """Hits on the steps of a bar, or notes."""
    step = 60 / rng.uniform(70, 175) / rng.choice([2, 4])
    steps = int(rng.choice([8, 16, 16, 32]))
    out = np.zeros(round((steps * step + 1.5) * RATE))
    if rng.random() < 0.75:
        kinds = rng.choice(
            ["kick", "snare", "hat", "hat", "percussion", "clap", "tom"], size=rng.integers(2, 5)
        )
        voices = [
            (shots[k][rng.integers(len(shots[k]))], rng.uniform(0.15, 0.7), rng.uniform(0.3, 1))
            for k in kinds
        ]
    else:
        pool = shots["tonal"]
        voices = [
            (pool[rng.integers(len(pool))], rng.uniform(0.1, 0.4), 0.7) for _ in range(rng.integers(2, 5))
        ]
    for sound, density, gain in voices:
        hits = rng.random(steps) < density
        hits[0] |= rng.random() < 0.5
        for at in np.flatnonzero(hits):
            start = round(at * step * RATE)
            piece = sound[: len(out) - start]
            out[start : start + len(piece)] += (
                piece / (np.abs(sound).max() + 1e-9) * gain * rng.uniform(0.6, 1)
            )
    return out[: round(steps * step * RATE)]


def table(shots: Iterable[Shot]) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = [], []
    for name, sound in shots:
        if (row := heard(sound)) is not None:
            rows.append(row)
            labels.append(CLASSES.index(name))
    return np.stack(rows), np.asarray(labels)


def training_set() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(SEED)
    shots = [(name, make(rng)) for name, make in KINDS.items() for _ in range(FORMULAS)]
    shots += list(soundfont(FLUID, KITS, PITCHED, (70, 115)))
    shots += list(spoken("espeak-ng"))
    print("heard in training:", dict(Counter(name for name, _ in shots)), file=sys.stderr)
    pool: dict[str, list[Audio]] = {}
    for name, sound in shots:
        pool.setdefault(name, []).append(sound)
    everything = [sound for _, sound in shots]
    loops = [("loop", loop(pool, rng)) for _ in range(LOOPS)]
    rough = [(name, roughened(sound, rng, everything)) for name, sound in shots * COPIES]
    return table([*shots, *loops, *rough, *[(n, roughened(s, rng, everything)) for n, s in loops]])


def train(rows: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    x = torch.tensor(np.clip((rows - mean) / scale, -4, 4), dtype=torch.float32)
    y = torch.tensor(labels)
    weight = 1 / torch.bincount(y, minlength=len(CLASSES)).clamp(min=1).float()
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(HIDDEN, len(CLASSES)),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=3e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    loss_of = torch.nn.CrossEntropyLoss(weight=weight / weight.mean(), label_smoothing=0.08)
    for epoch in range(EPOCHS):
        optimiser.zero_grad()
        loss = loss_of(net(x + 0.15 * torch.randn_like(x)), y)
        loss.backward()
        optimiser.step()
        schedule.step()
        if epoch % 100 == 99:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}", file=sys.stderr)
    first, last = net[0], net[3]
    layers = {"mean": mean, "scale": scale}
    for name, layer in (("hidden", first), ("out", last)):
        layers[f"{name}_weight"] = layer.weight.detach().numpy()
        layers[f"{name}_bias"] = layer.bias.detach().numpy()
    return {"classes": list(CLASSES)} | {
        name: np.round(values, 4).tolist() for name, values in layers.items()
    }


def report(title: str, classifier: Classifier, shots: Iterable[Shot]) -> None:
    """A confusion table in Markdown: rows are what it is, columns what was said."""
    said_of: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}
    for name, sound in shots:
        verdict = classifier.classify(heard(sound))
        said_of[name][verdict.name or "no word"] += 1
    columns = [*CLASSES, "no word"]
    print(f"\n{title}\n\n| | n | {' | '.join(columns)} | right |\n|---|--:|{'--:|' * (len(columns) + 1)}")
    right = total = wrong = 0
    for name, said in said_of.items():
        if n := sum(said.values()):
            cells = " | ".join(str(said[each]) if said[each] else "" for each in columns)
            print(f"| **{name}** | {n} | {cells} | {100 * said[name] / n:.0f} % |")
            right, total = right + said[name], total + n
            wrong += sum(c for each, c in said.items() if each not in {name, "percussion", "no word"})
    print(
        f"\n{right} of {total} right ({100 * right / total:.1f} %), {100 * wrong / total:.1f} % a wrong word other than percussion."
    )


def main() -> None:
    into = Path(sys.argv[1])
    model = train(*training_set())
    into.write_text(json.dumps(model, separators=(",", ":")) + "\n")
    classifier = Classifier.load(into)
    report("Samples of supersonic-scsynth-samples (CC0)", classifier, samples())
    foreign = [*soundfont(TIM, (0, 25), PITCHED[::4], (100,)), *spoken("flite")]
    report("TimGM6mb and flite", classifier, foreign)


if __name__ == "__main__":
    main()
