"""Faults on purpose: kill, stop and starve a real installation under load, and print what became of the promise.

    python scripts/chaos.py [--long] [--only NAME]... [--seed N] [--keep DIR]

A row per fault. Exit code 1 when one does not hold. Without --long the storms are those of tests/faults: minutes. With
it they have the size of docs/reliability.md: half an hour.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from faults.row import Row, Scale
from faults.stores import running_stores
from faults.table import FAULTS, run_fault


async def main(names: list[str], scale: Scale, folder: Path) -> int:
    size = "long" if scale.long else "short"
    print(f"seed {scale.seed}, {size}, {os.cpu_count()} cores, python {platform.python_version()}\n")
    print("| fault | counts | s | verdict |\n|---|---|---|---|", flush=True)
    began, broken = time.monotonic(), 0
    async with running_stores() as stores:
        for name in names:
            row = await run_fault(name, scale, stores, folder)
            broken += not row.holds
            print(line(row), flush=True)
    print(f"\n{len(names) - broken} of {len(names)} hold, {(time.monotonic() - began) / 60:.1f} minutes")
    return 1 if broken else 0


def line(row: Row) -> str:
    counts = ", ".join(f"{name} {value}" for name, value in row.counts.items())
    verdict = "holds" if row.holds else "DOES NOT HOLD: " + "; ".join(row.broken)
    return f"| {row.fault} | {counts} | {row.seconds:.0f} | {verdict} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="the size of the table")
    parser.add_argument(
        "--only", action="append", choices=FAULTS, metavar="NAME", help=f"of {', '.join(FAULTS)}"
    )
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the logs there")
    options = parser.parse_args()
    chosen, size = options.only or list(FAULTS), Scale(options.long, options.seed)
    with tempfile.TemporaryDirectory(prefix="neuralib-chaos-") as scratch:
        raise SystemExit(asyncio.run(main(chosen, size, options.keep or Path(scratch))))
