"""The mean of the weights of checkpoints that one training passed through: `python average.py --out FILE A B`.

It errs less than each of them where all lie in one valley (Wortsman et al., "Model soups", 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import model
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="networks of the same size")
    args = parser.parse_args()
    states = [model.load(path).state_dict() for path in args.checkpoints]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    model.save(mean, args.out, {"mean_of": str(len(states))})


if __name__ == "__main__":
    main()
