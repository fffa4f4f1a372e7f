"""What every page looks like, light and dark, at a desk and on a phone.

The pictures of docs/ come from here: `NEURALIB_SCREENS=docs/screens scripts/test tests/browser/test_screens.py`.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import DEMO, Site
from .test_page import MADE_WITHIN_MS, add, open_track

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SONGS = ("Northern Line", "Salt and Iron", "Every Window Open", "Half a Mile")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("songs")
    for name in SONGS:
        (folder / f"{name}.ogg").write_bytes(DEMO.read_bytes())
    return [folder / f"{name}.ogg" for name in SONGS]


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_are_shown_whole(
    site: Site, tab: Callable[..., Page], songs: list[Path], tmp_path: Path, scheme: str, size: dict[str, int]
) -> None:
    page = tab(color_scheme=scheme, viewport=size)
    place = Path(os.environ.get("NEURALIB_SCREENS", tmp_path))
    place.mkdir(parents=True, exist_ok=True)
    device = "phone" if size is PHONE else "desk"

    def shoot(name: str) -> None:
        assert fits(page), f"{name} is wider than the screen"
        page.screenshot(path=place / f"{name}-{device}-{scheme}.png")

    name = songs[0].stem
    expect(
        page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("heading", name="Drop a song"))
    ).to_be_visible()
    if page.get_by_role("link", name=name, exact=True).count() == 0:
        add(page, *songs)
    expect(page.get_by_role("list", name="Uploads")).to_be_hidden()
    shoot("library")
    open_track(page, name)
    vocals = page.get_by_role("group", name="Vocals", exact=True)
    if vocals.count() == 0 and page.get_by_role("button", name="Take apart").is_enabled():
        page.get_by_role("button", name="Take apart").click()
    expect(vocals).to_be_visible(timeout=MADE_WITHIN_MS)
    expect(page.get_by_role("region", name="Lyrics")).to_be_visible(timeout=MADE_WITHIN_MS)
    expect(page.get_by_role("list", name="What is being made")).to_be_hidden(timeout=MADE_WITHIN_MS)
    page.get_by_role("button", name="Solo Vocals").click()
    page.evaluate("neuralib.track.seek(9.4)")
    expect(page.get_by_role("img", name=re.compile(r"\d+ notes of"))).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)
    shoot("track")
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    shoot("jobs")
    page.get_by_role("button", name="Close jobs").click()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name=re.compile("Demucs"))).to_be_visible()
    shoot("models")


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
