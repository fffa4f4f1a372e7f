"""The page: a cold load, 5,000 rows scrolled, ten minutes of six stems opened and played.

    python scripts/bench/page.py [--assets 5000] [--loads 5] [--trace FILE]

Starts `neuralib serve` on stores of its own and drives Debian's Chromium, headless, over the loopback. Headless Chromium
paints in software at a clock of 60 Hz that is no display's: frames that are late are counted, and beside them stands what
the page's main thread did, which is what is left when a display and a GPU do the rest. Ends with 1 when a floor is missed
or a gate fails.

cold      each load in a profile of its own. The gate: every script came packed with gzip and says that it never changes.
scroll    the wheel, ten seconds at 3,000 pixels a second, and then to the last row. The gates: only what is on the screen
          exists, and the last row is shown. With --trace, what Chromium noted of the first run is kept, without its arguments.
open      from the click on the track's row until the waveforms of all lanes are painted from the server's peaks, and until
          every stem can play; from Play until there is sound. The gate: a pixel of every lane is painted.
          Then drift: every stem has a click each half second. All lanes are recorded behind their mixers as channels of one
          stream, from the beginning and near the end, beside a click that loops on the clock of the audio context. The
          gates: each click is in all six; clicks were heard at all.
"""

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import aiohttp
import library  # first: it takes this folder, whose queue.py is called like a module of Python, off the path
import numpy as np
import soundfile
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from neuralib import assets
from neuralib.db import assets as rows
from neuralib.entities import NewAsset, new_id
from neuralib.services import open_services

SCRIPT_KIB, PAINT_MS, OPEN_MS, DRIFT_MS, FPS, LATE_SHARE = 200.0, 1000.0, 1500.0, 1.0, 58.0, 0.05
RATE, SECONDS, CLICK_EVERY = 44100, 600, 22050
STEMS = ("vocals", "drums", "bass", "guitar", "piano", "other")
LONG = "ten minutes"
SCROLL_PX_S, SCROLL_S, FAST_PX_S = 3000, 10, 20_000
VIEW = {"width": 1280, "height": 800}
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline.frame"]
KEPT = {
    "RunTask",
    "ThreadControllerImpl::RunTask",
    "DrawFrame",
    "DroppedFrame",
    "BeginFrame",
    "FireAnimationFrame",
}
KEPT |= {
    "UpdateLayoutTree",
    "Layout",
    "Paint",
    "FunctionCall",
    "EventDispatch",
    "thread_name",
    "Layerize",
    "Commit",
}
LEAST_US = 50  # shorter pieces are not kept in the trace


@dataclass
class Site:
    """A filled library behind a running server, and a browser."""

    bench: library.Bench
    browser: Browser
    url: str
    long: str

    async def tab(self) -> Page:
        context = await self.browser.new_context(viewport=VIEW)
        page = await context.new_page()
        page.set_default_timeout(60_000)
        return page


def middle(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f}, n = {len(values)})"


# ── what is looked at ─────────────────────────────────────────────────────────────────────────────────


def write_stem(path: Path, seed: int) -> None:
    """Ten minutes of soft noise that comes and goes, and a click every half second."""
    rng = np.random.default_rng(seed)
    second = rng.uniform(-0.1, 0.1, (RATE, 2))
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for number in range(SECONDS):
            block = second * (0.3 + 0.7 * abs(np.sin(number / (7 + seed))))
            block[::CLICK_EVERY] = 0.9
            file.write(block)


async def fill_long(bench: library.Bench, into: UUID) -> str:
    """The track and its stems. The bytes come in through the API, so that they are probed and have peaks; the rows that make
    them stems of the track, and its lyrics, are written over them as a separation would. The
    track's name."""
    aside, owner = await bench.library(), await bench.owner()
    path = bench.folder / f"{LONG}.wav"
    write_stem(path, len(STEMS))
    track = await library.upload.send(bench.session, bench.served.api, str(into), path)
    for seed, name in enumerate(STEMS):
        path = bench.folder / f"{name}.wav"
        write_stem(path, seed)
        sent = await library.upload.send(bench.session, bench.served.api, str(aside), path)
        path.unlink()
        async with open_services(library.settings_of(bench)) as services, services.db.transaction() as tx:
            blob = (await rows.get(tx, owner, UUID(sent["id"]))).blob
            new = NewAsset(
                new_id(), into, "audio", "stem", f"{LONG} [{name}]", UUID(track["id"]), name, sent["audio"]
            )
            await rows.insert(tx, owner, new, blob)
    await sing(bench, owner, into, UUID(track["id"]))
    return track["name"]


async def sing(bench: library.Bench, owner: UUID, into: UUID, track: UUID) -> None:
    """Two words a second, eight in a line."""
    words = [
        {"text": f"word{n} ", "start": n / 2, "end": n / 2 + 0.4, "probability": 0.9}
        for n in range(SECONDS * 2)
    ]
    lines = [words[at : at + 8] for at in range(0, len(words), 8)]
    segments = [
        {
            "id": n,
            "start": line[0]["start"],
            "end": line[-1]["end"],
            "text": "".join(w["text"] for w in line),
            "words": line,
        }
        for n, line in enumerate(lines)
    ]
    body = json.dumps({"language": "en", "segments": segments}).encode()
    path = bench.folder / "lyrics.json"
    path.write_bytes(body)
    new = NewAsset(
        new_id(),
        into,
        "transcript",
        "transcript",
        f"{LONG} [lyrics].json",
        track,
        facts={"file": "lyrics.json"},
    )
    async with open_services(library.settings_of(bench)) as services:
        await assets.store(
            services, owner, new, path, hashlib.sha256(body).hexdigest(), len(body), "application/json"
        )


# ── cold ──────────────────────────────────────────────────────────────────────────────────────────────

LOADED = """() => ({
    paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    now: performance.now(),
    scripts: performance.getEntriesByType('resource').filter((e) => e.name.endsWith('.js')).map((e) => e.encodedBodySize),
    all: performance.getEntriesByType('resource').filter((e) => e.name.includes('/page/')).map((e) => e.encodedBodySize),
})"""


async def cold(site: Site) -> None:
    report, paints, shown, packed = site.bench.report, [], [], True
    sizes: dict = {}
    for _ in range(site.bench.options.loads):
        page = await site.tab()
        replies = []
        page.on("response", lambda reply, replies=replies: replies.append(reply))
        await page.goto(site.url)
        await page.locator('.row[data-at="0"]').wait_for()
        sizes = await page.evaluate(LOADED)
        paints.append(sizes["paint"])
        shown.append(sizes["now"])
        for reply in replies:
            if reply.url.endswith((".js", ".css")):
                headers = await reply.all_headers()
                packed &= (
                    headers.get("content-encoding") == "gzip" and "immutable" in headers["cache-control"]
                )
        await page.context.close()
    size, everything = sum(sizes["scripts"]) / 1024, sum(sizes["all"]) / 1024
    report.line(
        "script as it comes, gzip", f"{size:.1f} KiB", f"{SCRIPT_KIB:g} KiB", holds=0 < size < SCRIPT_KIB
    )
    report.line("with styles and icon", f"{everything:.1f} KiB", "–", holds=True)
    report.line(
        "cold load: first contentful paint",
        middle(paints),
        f"{PAINT_MS:g} ms",
        holds=statistics.median(paints) < PAINT_MS,
    )
    report.line("cold load: first rows shown", middle(shown), "–", holds=True)
    report.gate("scripts and styles: gzip, immutable", holds=packed)


# ── scroll ────────────────────────────────────────────────────────────────────────────────────────────

WATCH = """() => {
    window.bench = { frames: [], long: [], on: true };
    new PerformanceObserver((list) => bench.long.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
    const beat = (at) => { bench.frames.push(at); if (bench.on) requestAnimationFrame(beat); };
    requestAnimationFrame(beat);
}"""
SEEN = "() => { bench.on = false; return { frames: bench.frames, long: bench.long }; }"


async def roll(page: Page, pixels: int, speed: int) -> dict:
    """Scroll as a wheel does, and what the frames were like meanwhile."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = await worked(devtools)
    await page.evaluate(WATCH)
    at = {"x": 600, "y": 500, "yDistance": -pixels, "speed": speed, "gestureSourceType": "mouse"}
    await devtools.send("Input.synthesizeScrollGesture", at)
    seen = await page.evaluate(SEEN)
    seen["cpu_ms"] = 1000 * (await worked(devtools) - before)
    await devtools.detach()
    return seen


async def worked(devtools: CDPSession) -> float:
    """Seconds of a processor that tasks of the page's main thread took: what else runs here does not count."""
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


async def scroll(site: Site) -> None:
    report, count = site.bench.report, site.bench.options.assets
    fps, late, later, long, busy, cpu = [], [], [], [], [], []
    for run in range(3):
        page = await site.tab()
        await page.goto(site.url)
        await page.locator('.row[data-at="0"]').wait_for()
        await site.browser.start_tracing(page=page, categories=CATEGORIES)
        seen = await roll(page, SCROLL_PX_S * SCROLL_S, SCROLL_PX_S)
        trace = json.loads(await site.browser.stop_tracing())["traceEvents"]
        steps = np.diff(seen["frames"])
        fps.append(1000 / statistics.median(steps))
        late.append(float(np.mean(steps > 16.7 * 1.25)))
        later.append(float(np.mean(steps > 33.4)))
        long.append(longest(trace))
        busy.append(main_thread_ms(trace) / len(steps))
        cpu.append(seen["cpu_ms"] / len(steps))
        if run == 0 and site.bench.options.trace:
            keep(trace, site.bench.options.trace)
        if run < 2:
            await page.context.close()
    name = f"{SCROLL_S} s of wheel at {SCROLL_PX_S} px/s over {count} assets"
    report.line(
        f"{name}: frames a second, median",
        f"{statistics.median(fps):.1f}",
        f"{FPS:g}",
        holds=statistics.median(fps) > FPS,
    )
    share = statistics.median(late)
    report.line(
        "frames later than 21 ms / 33 ms",
        f"{share:.1%} / {statistics.median(later):.1%}",
        f"{LATE_SHARE:.0%}",
        holds=share < LATE_SHARE,
    )
    report.line(
        "main thread per frame, mean: on the clock / of a processor",
        f"{statistics.median(busy):.1f} ms / {statistics.median(cpu):.1f} ms",
        "16.7 ms",
        holds=statistics.median(busy) < 1000 / 60,
    )
    report.line(
        "longest task", f"{statistics.median(long):.0f} ms", "50 ms", holds=statistics.median(long) < 50
    )
    await to_the_end(site, page, count)


async def to_the_end(site: Site, page: Page, count: int) -> None:
    """All pages of the list come in on the way."""
    report, late = site.bench.report, []
    most = 0
    for _ in range(6):
        seen = await roll(page, FAST_PX_S * 5, FAST_PX_S)
        late += list(np.diff(seen["frames"]))
        most = max(most, await page.locator(".tracks .row").count())
        if await page.locator(f'.row[data-at="{count}"]').count():
            break
    holds = await page.locator(f'.row[data-at="{count}"]').count() == 1
    report.line(
        f"to the last row at {FAST_PX_S} px/s: frames later than 33 ms",
        f"{np.mean(np.array(late) > 33.4):.1%}",
        "–",
        holds=True,
    )
    report.gate(f"row {count + 1} is shown; {most} rows exist", holds=holds and most < 100)
    await page.context.close()


def main_tasks(trace: list[dict]) -> list[float]:
    """The milliseconds of each task of the page's main thread: the busiest renderer's."""
    mains = {
        (e["pid"], e["tid"])
        for e in trace
        if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks: dict[tuple, list[float]] = {}
    for event in trace:
        thread = (event["pid"], event["tid"])
        if event["name"] == "ThreadControllerImpl::RunTask" and event.get("dur") and thread in mains:
            tasks.setdefault(thread, []).append(event["dur"] / 1000)
    return max(tasks.values(), key=sum)


def main_thread_ms(trace: list[dict]) -> float:
    return sum(main_tasks(trace))


def longest(trace: list[dict]) -> float:
    return max(main_tasks(trace))


def keep(trace: list[dict], path: Path) -> None:
    """What can be opened in Chromium's or Perfetto's viewer: names, threads and times."""
    kept = []
    for event in trace:
        if event["name"] in KEPT and (event["ph"] != "X" or event.get("dur", 0) >= LEAST_US):
            args = event["args"] if event["name"] == "thread_name" else {}
            kept.append(
                {
                    key: event[key]
                    for key in ("name", "ph", "ts", "dur", "pid", "tid", "id", "s")
                    if key in event
                }
                | {"cat": "", "args": args}
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        gzip.compress(json.dumps({"traceEvents": kept}, separators=(",", ":")).encode(), 9, mtime=0)
    )


# ── open ──────────────────────────────────────────────────────────────────────────────────────────────

OPEN = """async ([name, lanes]) => {
    const link = [...document.querySelectorAll('.row a')].find((each) => each.textContent === name);
    const frame = () => new Promise(requestAnimationFrame);
    const painted = (canvas) => canvas.width > 0 && canvas.getContext('2d', { willReadFrequently: false })
        .getImageData(canvas.width >> 1, 0, 8, canvas.height).data.filter((v, n) => n % 4 === 3 && v > 0).length > 60;
    const track = () => window.neuralib?.track;
    const began = performance.now();
    link.click();
    while (!(track()?.lanes.value.length === lanes && track().lanes.value.every((lane) => lane.wave.overview.value)
        && [...document.querySelectorAll('.lane canvas')].every(painted))) {
        await frame();
        if (performance.now() - began > 30000) return null;
    }
    const drawn = performance.now() - began;
    while (!document.querySelector('.lyrics .word')) await frame();
    const words = performance.now() - began;
    await Promise.all([...track().engine.lanes.values()].map((lane) => lane.opening));
    const ready = performance.now() - began;
    const pressed = performance.now();
    track().engine.toggle();
    const heard = new Float32Array(track().engine.meter.fftSize);
    do { await new Promise((go) => setTimeout(go, 4)); track().engine.meter.getFloatTimeDomainData(heard); }
    while (!heard.some((v) => Math.abs(v) > 0.001));
    return { drawn, words, ready, sound: performance.now() - pressed };
}"""
BUFFERS = """() => [...neuralib.track.engine.nodes].reduce((sum, node) => sum + node.buffer.length * node.buffer.numberOfChannels * 4, 0)"""


async def open_and_play(site: Site) -> None:
    report = site.bench.report
    times: list[dict] = []
    page = await site.tab()
    for _ in range(5):
        await page.context.close()
        page = await site.tab()
        await page.goto(site.url)
        await page.get_by_role("link", name=site.long, exact=True).wait_for()
        got = await page.evaluate(OPEN, [site.long, len(STEMS) + 1])
        report.missed += got is None
        assert got is not None, "the waveforms were not painted"
        times.append(got)
    for key, name, floor in (
        ("drawn", "ten minutes, six stems: from the click until seven lanes are painted", OPEN_MS),
        ("words", "until the lyrics stand below (1,200 words)", OPEN_MS),
        ("ready", "until every stem can play", OPEN_MS),
        ("sound", "from Play to sound", None),
    ):
        values = [each[key] for each in times]
        holds = floor is None or statistics.median(values) < floor
        report.line(name, middle(values), f"{floor:g} ms" if floor else "–", holds=holds)
    await page.wait_for_timeout(15_000)
    await weigh(site, page)
    await drift(site, page)
    await page.context.close()


async def weigh(site: Site, page: Page) -> None:
    """What the page holds after fifteen seconds of playing."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")
    metrics = {
        each["name"]: each["value"] for each in (await devtools.send("Performance.getMetrics"))["metrics"]
    }
    buffers = await page.evaluate(BUFFERS) / 2**20
    heap = metrics["JSHeapUsedSize"] / 2**20
    whole = len(STEMS) * SECONDS * RATE * 2 * 4 / 2**20
    report = site.bench.report
    report.line("playing: scripts' heap", f"{heap:.0f} MiB", "–", holds=True)
    report.line(
        f"playing: sound held (whole it would be {whole:.0f} MiB)",
        f"{buffers:.0f} MiB",
        "64 MiB",
        holds=0 < buffers < 64,
    )
    browser = await site.browser.new_browser_cdp_session()
    processes = (await browser.send("SystemInfo.getProcessInfo"))["processInfo"]
    memory = max(library.upload.rss(each["id"]) for each in processes if each["type"] == "renderer") / 2**20
    report.line("playing: the largest renderer's memory", f"{memory:.0f} MiB", "–", holds=True)


# ── drift ─────────────────────────────────────────────────────────────────────────────────────────────

RECORD = """([from, seconds]) => new Promise((done) => {
    const { engine } = neuralib.track;
    const { context } = engine;
    const lanes = [...engine.lanes.values()].filter((lane) => !lane.strip.mute);
    const merger = context.createChannelMerger(lanes.length + 1);
    const tap = context.createScriptProcessor(16384, lanes.length + 1, 1);
    lanes.forEach((lane, n) => lane.panner.connect(merger, 0, n));
    merger.connect(tap).connect(context.destination);
    const clock = context.createBufferSource(); // one loop, started once: it cannot be early or late
    clock.buffer = context.createBuffer(1, context.sampleRate / 2, context.sampleRate);
    clock.buffer.getChannelData(0)[0] = 0.9;
    clock.loop = true;
    clock.connect(merger, 0, lanes.length);
    const clicks = [...lanes, clock].map(() => []);
    let blocks = 0;
    tap.onaudioprocess = ({ inputBuffer }) => {
        clicks.forEach((found, n) => {
            const samples = inputBuffer.getChannelData(n);
            for (let at = 0; at < samples.length; at++) if (samples[at] > 0.5) found.push(blocks * 16384 + at);
        });
        if (++blocks * 16384 < seconds * context.sampleRate) return;
        tap.onaudioprocess = null;
        engine.pause();
        clock.stop();
        merger.disconnect();
        done({ lanes: clicks.slice(0, -1), clock: clicks.at(-1) });
    };
    engine.pause();
    engine.seek(from);
    engine.toggle();
    const wait = setInterval(() => {
        if (engine.spans.length === 0) return;
        clearInterval(wait);
        clock.start(engine.spans[0].at + 1);
    }, 5);
})"""


async def drift(site: Site, page: Page) -> None:
    report = site.bench.report
    for begin, seconds in ((0, 20), (570, 20)):
        got = await page.evaluate(RECORD, [begin, seconds])
        lanes, counts = got["lanes"], [len(lane) for lane in got["lanes"]]
        same = len(lanes) == len(STEMS) and len(set(counts)) == 1 and min(counts) > seconds
        told = f"from {begin} s: {min(counts)} clicks in each of {len(lanes)} lanes, {len(got['clock'])} of the clock"
        report.gate(told, holds=same and len(got["clock"]) > seconds)
        clicks = np.array([lane[: min(counts)] for lane in lanes])
        between = int(np.ptp(clicks, axis=0).max())
        clock = max(int(np.abs(clicks - each).min(axis=1).max()) for each in got["clock"])
        for what, frames in (("between lanes", between), ("between a lane and the clock", clock)):
            ms = 1000 * frames / RATE
            name = f"from {begin} s, {seconds} s long: most {what}"
            report.line(name, f"{frames} frames ({ms:.2f} ms)", f"{DRIFT_MS:g} ms", holds=ms < DRIFT_MS)


SECTIONS = {"cold": cold, "scroll": scroll, "open": open_and_play}


async def main(options: argparse.Namespace) -> int:
    report = library.Report()
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium here"
    done = await asyncio.to_thread(
        subprocess.run, [chromium, "--version"], capture_output=True, text=True, check=True
    )
    version = done.stdout.strip()
    print(
        f"python {platform.python_version()}; {version}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| what | figure | floor | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="neuralib-bench-") as folder:
        async with (
            library.upload.serving(Path(folder)) as served,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session,
            async_playwright() as playwright,
        ):
            bench = library.Bench(served, session, Path(folder), options, report)
            into = await bench.library()
            await library.fill(bench, into, options.assets)
            long = await fill_long(bench, into)
            browser = await playwright.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
                env={**os.environ, "LANG": "C.UTF-8"},
            )
            site = Site(bench, browser, f"{served.api.removesuffix('/api/v1')}/#/libraries/{into}", long)
            for name in options.only or SECTIONS:
                await SECTIONS[name](site)
            await browser.close()
    return 1 if report.missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=SECTIONS)
    parser.add_argument("--assets", type=int, default=5000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--trace", type=Path)
    sys.exit(asyncio.run(main(parser.parse_args())))
