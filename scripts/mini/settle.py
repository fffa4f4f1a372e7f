"""Bring a checkpoint's own sum near the mix: `python settle.py --weights FILE --data DIR --out FILE`.

Training judges stems after what misses from the mix is shared among them, so nothing holds what all of them have in
common, and it drifts. This fits that part of the last layer alone: stems that are made to add up stay what they were,
and those as the network says them come nearer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import model
import torch
from compose import STEMS
from demucs.spec import spectro
from safetensors import safe_open
from train import Songs, Trainee, batches


def settle(network: Trainee, songs: Songs, steps: int) -> None:
    """Adam on what is added to every stem's part of the last transposed convolution."""
    network.eval().requires_grad_(requires_grad=False)
    last = network.decoder[-1].conv_tr
    before, bias = last.weight.detach(), last.bias.detach()
    shift = torch.zeros_like(before[:, :2]).requires_grad_()
    level = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam((shift, level), lr=5e-3)
    feed = batches(songs, 4, seed=1)
    del last.weight, last.bias
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        last.weight = before + shift.repeat(1, len(STEMS), 1, 1)
        last.bias = bias + level.repeat(len(STEMS))
        with torch.no_grad():
            mix = spectro(feed.get().sum(1), network.nfft, network.hop_length)[..., :-1, :]
        missing = mix.abs() - network(mix).sum(1)
        loss = missing.square().mean() / mix.abs().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: {10 * torch.log10(loss).item():.2f} dB of the mix are missing", flush=True)
    weight, offset = before + shift.repeat(1, len(STEMS), 1, 1), bias + level.repeat(len(STEMS))
    del last.weight, last.bias
    last.weight, last.bias = torch.nn.Parameter(weight.detach()), torch.nn.Parameter(offset.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with safe_open(args.weights, framework="pt") as file:
        facts = {k: v for k, v in file.metadata().items() if k in {"steps", "minutes", "batch"}}
    network = Trainee(**model.KWARGS)
    network.load_state_dict(model.load(args.weights).state_dict())
    settle(network, Songs(args.data / "train"), args.steps)
    model.save(network.state_dict(), args.out, facts)


if __name__ == "__main__":
    main()
