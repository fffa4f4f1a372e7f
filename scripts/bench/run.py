"""Our executors against their own packages, side by side: one table, every figure with its gate.

    python scripts/bench/run.py --all [--pairs 7] [--threads 2]
    python scripts/bench/run.py --only sep.cpu.fp32 --only amt.cpu.notes
    python scripts/bench/run.py --list

Every other file of this folder may expose `CASES: list[Case]` (see neuralib/bench/pairs.py) and is found by its name. Exit
code 1 when a gate fails or a floor is missed.
"""

import sys

# This folder leaves the import path at once: a case file may be called like a module of Python itself.
HERE = sys.path.pop(0)

import argparse  # noqa: E402
import datetime as dt  # noqa: E402
import gc  # noqa: E402
import importlib.util  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402
from types import ModuleType  # noqa: E402

from neuralib.bench import pairs  # noqa: E402

HEAD = (
    "| name | against | gate | x stock | 90 % of medians | CPU time x | x real time | at least | aim | |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cases() -> list["pairs.Case"]:
    files = sorted(f for f in Path(HERE).glob("*.py") if f.stem != "run")
    modules = [
        load(f"bench_{f.stem}", f) for f in files if "\nCASES" in f.read_text()
    ]  # a script of its own has none
    return [case for module in modules for case in module.CASES]


def row(result: "pairs.Result") -> str:
    case = result.case
    head = f"| {case.name} | {case.against} | {case.gate}: {result.gate.text} "
    tail = f"| {case.floor:g}x | {case.aim:g}x "
    if not result.gate.ok:
        return f"{head}| – | – | – | – {tail}| **GATE FAILED** |"
    low, high = result.interval()
    speed = f"{result.realtime:.1f}" if result.realtime else "–"
    verdict = "ok" if result.passed else "**TOO SLOW**"
    return f"{head}| **{result.ratio:.2f}** | {low:.2f} to {high:.2f} | {result.cpu_ratio:.2f} | {speed} {tail}| {verdict} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true", help="run every case")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="run this case; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 8))
    options = parser.parse_args()
    # Both sides get the same threads; read by OpenMP when torch is imported, which happens below.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    known = cases()
    if options.list or not (options.all or options.only):
        print("\n".join(case.name for case in known))
        return 0
    unknown = set(options.only) - {case.name for case in known}
    if unknown:
        parser.error(f"no case named {', '.join(sorted(unknown))}; known: {', '.join(c.name for c in known)}")
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {pairs.machine()}; {options.pairs} interleaved pairs.\n\n{HEAD}",
        flush=True,
    )
    passed = True
    for case in known:
        if options.only and case.name not in options.only:
            continue
        if reason := case.unmeasured():
            print(
                f"| {case.name} | {case.against} | {case.gate} | not measured: {reason} | | | | {case.floor:g}x | {case.aim:g}x | |"
            )
            continue
        result = pairs.measure(case, options.pairs)
        passed = passed and result.passed
        print(row(result), flush=True)
        gc.collect()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
