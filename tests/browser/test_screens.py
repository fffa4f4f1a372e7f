"""What every page looks like, light and dark, at a desk and on a phone: a page is one line of PAGES.

The pictures of docs/ come from here: `NEURALIB_SCREENS=docs/screens scripts/test tests/browser/test_screens.py`.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from .conftest import DEMO, Site
from .test_page import MADE_WITHIN_MS, add, call, open_track, stems_of

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
# Name, how fast it is played, stars, tags; the first is taken apart.
SONGS: list[tuple[str, float, int | None, list[str]]] = [
    ("Northern Line", 1.0, 5, ["single", "vocals"]),
    ("Salt and Iron", 0.89, 4, ["late night"]),
    ("Every Window Open", 1.12, None, []),
    ("Half a Mile", 0.94, 3, ["rough", "vocals"]),
    ("The Long Way Down", 1.06, 4, ["single"]),
    ("Paper Lanterns", 1.19, None, ["late night", "loop"]),
    ("Low Tide", 0.84, 2, ["rough"]),
]
THROWN = ("Old Demo", 1.02)
FIRST = SONGS[0][0]


@dataclass(frozen=True)
class Studio:
    """A server where somebody has worked: a full library, an empty one."""

    site: Site
    full: str
    empty: str

    def go(self, page: Page, place: str) -> None:
        page.goto(f"{self.site.url}/#/{place}")

    def library(self, page: Page) -> None:
        self.go(page, f"libraries/{self.full}")
        expect(page.get_by_role("link", name=FIRST, exact=True)).to_be_visible()

    def track(self, page: Page) -> None:
        self.library(page)
        open_track(page, FIRST)
        expect(page.get_by_role("group", name="Vocals", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="Lyrics")).to_be_visible()
        page.evaluate("neuralib.track.seek(9.4)")


def write(folder: Path, name: str, speed: float) -> Path:
    """The demo song, faster and higher or slower and lower, so that no two are the same recording."""
    samples, rate = soundfile.read(DEMO, always_2d=True)
    at = np.arange(0, len(samples) - 1, speed)
    path = folder / f"{name}.flac"
    soundfile.write(
        path, np.stack([np.interp(at, np.arange(len(samples)), each) for each in samples.T], 1), rate
    )
    return path


@pytest.fixture(scope="module")
def studio(site: Site, chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("songs")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(site.url)
    full, empty = (
        call(page, "POST", "api/v1/libraries", {"name": name})["id"] for name in ("Evening", "New")
    )
    studio = Studio(site, full, empty)
    studio.go(page, f"libraries/{full}")
    expect(page.locator("#files")).to_be_attached()
    for name, speed in [THROWN, *[(song[0], song[1]) for song in reversed(SONGS)]]:
        add(page, write(folder, name, speed))  # one after the other: the newest is first
    listed = call(page, "GET", f"api/v1/libraries/{full}/assets")["items"]
    ids = {each["name"]: each["id"] for each in listed}
    for name, _, rating, tags in SONGS:
        patch(page, ids[name], {"rating": rating, "tags": tags})
    expect(page.locator(".top .count")).to_have_count(0, timeout=MADE_WITHIN_MS)
    call(page, "DELETE", f"api/v1/assets/{ids[THROWN[0]]}")
    take_apart(page)
    yield studio
    context.close()


def patch(page: Page, asset: str, change: dict[str, Any]) -> None:
    got = page.request.patch(
        page.url.split("#")[0] + f"api/v1/assets/{asset}",
        data=change,
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert got.ok, got.text()


def take_apart(page: Page) -> None:
    """Stems, words and notes; regions on the drums, and what was cut of them."""
    open_track(page, FIRST)
    page.get_by_role("button", name="Take apart").click()
    expect(page.get_by_role("group", name="Vocals", exact=True)).to_be_visible(timeout=MADE_WITHIN_MS)
    expect(page.get_by_role("region", name="Lyrics")).to_be_visible(timeout=MADE_WITHIN_MS)
    expect(page.get_by_role("list", name="What is being made")).to_be_hidden(timeout=MADE_WITHIN_MS)
    drums = stems_of(page)["Drums"]
    for name, start, end in (("Fill", 5.1, 7.0), ("Groove", 10.2, 13.9), ("Break", 18.5, 20.3)):
        region = {"kind": "region", "name": name, "start_s": start, "end_s": end}
        call(page, "POST", f"api/v1/assets/{drums}/regions", region)
    order = {
        "operation": "slice",
        "inputs": [{"asset_id": drums}],
        "params": {"method": "equal", "parts": 8, "snap": "none"},
    }
    call(page, "POST", "api/v1/jobs", order)
    expect(page.locator(".top .count")).to_have_count(0, timeout=MADE_WITHIN_MS)


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────


def library(page: Page, studio: Studio) -> None:
    studio.library(page)


def cards(page: Page, studio: Studio) -> None:
    studio.library(page)
    page.get_by_role("button", name="Cards").click()
    expect(page.get_by_role("img", name=f"Waveform of {FIRST}")).to_be_visible()


def empty(page: Page, studio: Studio) -> None:
    studio.go(page, f"libraries/{studio.empty}")
    expect(page.get_by_role("heading", name="Drop a song")).to_be_visible()


def trash(page: Page, studio: Studio) -> None:
    studio.go(page, "trash")
    expect(page.get_by_role("list", name="In the trash")).to_be_visible()


def track(page: Page, studio: Studio) -> None:
    studio.track(page)
    page.get_by_role("button", name="Solo Vocals").click()
    expect(page.get_by_role("img", name=re.compile(r"\d+ notes of"))).to_be_visible()


def near(page: Page, studio: Studio) -> None:
    studio.track(page)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    page.evaluate("neuralib.track.selection.value = { start: 8.2, end: 10.4 }")


def words(page: Page, studio: Studio) -> None:
    studio.track(page)
    lyrics = page.get_by_role("region", name="Lyrics")
    lyrics.get_by_role("button", name="Edit").click()
    expect(lyrics.get_by_role("list", name="Lines to edit")).to_be_visible()
    lyrics.evaluate("(section) => section.scrollIntoView({ block: 'end' })")


def slicer(page: Page, studio: Studio) -> None:
    studio.track(page)
    page.get_by_role("button", name="Mute Drums").focus()
    cut = page.get_by_role("region", name=re.compile("of Drums")).last
    expect(page.get_by_role("list", name="Regions")).to_be_visible()
    cut.evaluate("(section) => section.scrollIntoView({ block: 'end' })")


def jobs(page: Page, studio: Studio) -> None:
    studio.track(page)
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    expect(page.get_by_role("complementary", name="Jobs")).to_be_visible()


def models(page: Page, studio: Studio) -> None:
    studio.go(page, "models")
    expect(page.get_by_role("heading", name=re.compile("Demucs"))).to_be_visible()


def keys(page: Page, studio: Studio) -> None:
    studio.library(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


PAGES = (library, cards, empty, trash, track, near, words, slicer, jobs, models, keys)
LOOKS = [(scheme, device) for scheme in ("dark", "light") for device in ("desk", "phone")]


@pytest.mark.parametrize(("scheme", "device"), LOOKS)
def test_pages_are_shown_whole(
    studio: Studio, tab: Callable[..., Page], tmp_path: Path, scheme: str, device: str
) -> None:
    page = tab(color_scheme=scheme, viewport=PHONE if device == "phone" else DESK, reduced_motion="reduce")
    for each in PAGES:
        page.evaluate("localStorage.removeItem('shown')")
        page.goto("about:blank")
        each(page, studio)
        shoot(page, tmp_path, f"{each.__name__}-{device}-{scheme}")


def shoot(page: Page, tmp_path: Path, name: str) -> None:
    place = Path(os.environ.get("NEURALIB_SCREENS", tmp_path))
    place.mkdir(parents=True, exist_ok=True)
    expect(page.locator(".notice")).to_have_count(0)
    expect(page.get_by_text("offline")).to_have_count(0)
    page.evaluate("document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
    page.screenshot(path=place / f"{name}.png")
