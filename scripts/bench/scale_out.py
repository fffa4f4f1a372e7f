"""Several workers on one queue: throughput of 1, 2 and 4, and the wait of one owner beside another's flood.

    python scripts/bench/scale_out.py [--namespaces] [--each 16] [--seconds 2] [--flood 1000]

Real worker processes over real PostgreSQL and Valkey; the executor sleeps, so that two cores can stand in for many. With
--namespaces (as root) each worker runs in a network namespace of its own and reaches the servers over a bridge: hosts,
but for the disk that they share. Gates: every job done exactly once, every worker had work, at most one round of the
flood goes before a job of the other. Exit code 1 when one fails or throughput is below 0.9 of linear.
"""

import sys
from pathlib import Path

sys.path[0] = str(
    Path(__file__).resolve().parents[2] / "tests"
)  # not this folder: a file of it is called queue.py

import argparse  # noqa: E402
import asyncio  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from contextlib import ExitStack, contextmanager  # noqa: E402

from faults.crowd import HERE, Place, fair_share, throughput  # noqa: E402
from faults.row import Row, percentile  # noqa: E402
from faults.stores import running_stores  # noqa: E402
from neuralib import logs  # noqa: E402

WORKERS = (1, 2, 4)
AT_LEAST = 0.9
BRIDGE, NETWORK = "nl-bridge", "10.77.0"
IP = shutil.which("ip") or "/usr/sbin/ip"


@contextmanager
def namespaces(count: int) -> Iterator[list[Place]]:
    """So many network namespaces, joined by a bridge on which the servers listen."""
    with ExitStack() as stack:
        ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        places = []
        for n in range(1, count + 1):
            name, port = f"nl-host-{n}", f"nl-port-{n}"
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", port, "master", BRIDGE, "up")
            inside = ("-n", name)
            ip(*inside, "addr", "add", f"{NETWORK}.{n + 1}/24", "dev", "eth0")
            ip(*inside, "link", "set", "eth0", "up")
            ip(*inside, "link", "set", "lo", "up")
            places.append(Place((IP, "netns", "exec", name), f"{NETWORK}.1"))
        yield places


def ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True)


async def main(options: argparse.Namespace, places: Sequence[Place]) -> int:
    logs.configure("error")
    where = "in namespaces of their own" if options.namespaces else "on one host"
    print(
        f"{os.cpu_count()} cores, python {platform.python_version()}; jobs that sleep {options.seconds:g} s, workers {where}"
    )
    row = Row("scale-out")
    more = [f"{NETWORK}.1"] if options.namespaces else []
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as name:
        async with running_stores(more) as stores:
            rates = []
            print("\n| workers | jobs | jobs/s | of linear |\n|---|---|---|---|")
            for count in WORKERS:
                rate = await throughput(
                    row, stores, Path(name), places[:count], options.each, options.seconds
                )
                rates.append(rate / count)
                linear = rates[-1] / rates[0]
                print(f"| {count} | {options.each * count} | {rate:.2f} | {linear:.2f} |", flush=True)
                row.claim(linear >= AT_LEAST, f"{count} workers bring {linear:.2f} of linear")
            share = await fair_share(
                row, stores, Path(name), places, options.flood, options.others, options.seconds
            )
    alone = share.flood * options.seconds / len(places)
    print(
        f"\none owner floods {share.flood} jobs (about {alone:.0f} s of work), another's {len(share.passed)} jobs, one after the "
        f"other: {max(share.passed)} of the flood went before one of them at most, waited p50 "
        f"{statistics.median(share.waited_s):.2f} s, p95 {percentile(share.waited_s, 0.95):.2f} s"
    )
    print("gates: " + ("hold" if row.holds else "DO NOT HOLD: " + "; ".join(row.broken)))
    return 0 if row.holds else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--namespaces", action="store_true", help="a network namespace for each worker; root only"
    )
    parser.add_argument("--each", type=int, default=16, help="jobs for each worker")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each job")
    parser.add_argument("--flood", type=int, default=1000)
    parser.add_argument("--others", type=int, default=10)
    given = parser.parse_args()
    with namespaces(max(WORKERS)) if given.namespaces else ExitStack() as made:
        raise SystemExit(asyncio.run(main(given, made if given.namespaces else [HERE] * max(WORKERS))))
