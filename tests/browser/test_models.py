"""Models and their weights as people meet them: stand-ins that say so, weights that are fetched, failures in plain words.

The hub is one of our own, on this machine: it is asked in place of every other.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

import neuralib
from acceptance.harness import running, write_tones
from hub import LocalHub, local_hub

Tab = Callable[..., Page]
WITHIN_MS = 120_000
SMALL = (Path(neuralib.__file__).parent / "executors" / "bundled" / "hdemucs_mini.safetensors").read_bytes()
HTDEMUCS = "/adefossez/HTDemucs/resolve/main/955717e8.safetensors"
TINY = "/main/whisper/models/65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9/tiny.pt"
SMALL_WHISPER = (
    "/main/whisper/models/9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794/small.pt"
)


@dataclass
class Here:
    """A server whose models ask our own hub, and nobody else."""

    url: str
    hub: LocalHub


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    with tempfile.TemporaryDirectory(prefix="neuralib-test-") as folder, local_hub() as hub:
        Path(folder).chmod(0o711)  # as root the embedded servers run as another account
        env = {
            "NEURALIB_WEIGHTS_OFFLINE": "0",
            "NEURALIB_WEIGHTS_MIRROR": hub.url,
            "NEURALIB_WEIGHTS_CACHE": str(tmp_path_factory.mktemp("weights")),
        }
        words = ("up", "--data", Path(folder) / "data", "--port", "0")
        with running(tmp_path_factory.mktemp("site"), *words, env=env, says=r"is up at http") as server:
            yield Here(server.url, hub)


@pytest.fixture(autouse=True)
def at_ease(site: Here) -> None:
    """A hub as it was before the test: with nothing, and going through."""
    site.hub.files.clear()
    site.hub.waits_after = site.hub.breaks_after = None
    site.hub.go_on.clear()


def models(tab: Tab, **options: Any) -> Page:
    page = tab("/#/models", **options)
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    return page


def row(page: Page, name: str) -> Locator:
    """The weights of this name."""
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def call(page: Page, method: str, path: str, body: Any = None) -> Any:
    got = page.request.fetch(f"{page.url.split('#')[0]}api/v1{path}", method=method, data=body)
    assert got.ok, (got.status, got.text())
    return got.json()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("songs") / "Short Way.wav", 4)


def bring(page: Page, song: Path) -> str:
    """The id of the song, brought in through the API."""
    library = call(page, "POST", "/libraries", {"name": song.stem})["id"]
    got = page.request.post(
        f"{page.url.split('#')[0]}api/v1/libraries/{library}/assets",
        multipart={"file": {"name": song.name, "mimeType": "audio/wav", "buffer": song.read_bytes()}},
    )
    return str(got.json()["items"][0]["asset"]["id"])


def separate(page: Page, asset: str, weights: str) -> dict[str, Any]:
    """A separation with these weights, once it has ended."""
    asked = {"model": f"demucs/{weights}", "inputs": [{"asset_id": asset}], "on_existing": "rerun"}
    job = call(page, "POST", "/jobs", asked)
    while job["finished_at"] is None:
        job = call(page, "GET", f"/jobs/{job['id']}?wait_s=5")
    return dict(job)


def shoot(page: Page, name: str) -> None:
    """For who wants to see it: NEURALIB_SCREENS names a folder."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
    if folder := os.environ.get("NEURALIB_SCREENS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────


def test_weights_are_fetched_with_progress_that_every_tab_sees_and_take_the_stand_ins_place(
    site: Here, tab: Tab
) -> None:
    site.hub.files[HTDEMUCS] = SMALL
    site.hub.waits_after = len(SMALL) // 2
    site.hub.asked.clear()
    page, other = models(tab), models(tab)
    note = page.get_by_role("complementary", name=re.compile("runs on a stand-in"))
    expect(note).to_contain_text("works with a small stand-in")
    expect(row(page, "hdemucs_mini")).to_contain_text("used by default")
    expect(row(page, "htdemucs")).to_contain_text("not here")
    shoot(page, "models-stand-in")
    note.get_by_role("button", name="Fetch htdemucs").click()
    for each in (page, other):
        bar = each.get_by_role("progressbar", name=re.compile("Fetching Hybrid"))
        expect(bar).to_be_visible()
        expect(row(each, "htdemucs")).to_contain_text(re.compile(r"[45]\d % · .* of .*MB"))
    page.reload()
    expect(row(page, "htdemucs")).to_contain_text(re.compile(r"[45]\d % · .* of .*MB"))
    shoot(page, "models-fetching")
    assert site.hub.downloads == 1
    site.hub.go_on.set()
    for each in (page, other):
        expect(row(each, "htdemucs")).to_contain_text("fetched")
        expect(row(each, "htdemucs")).to_contain_text("used by default")
        expect(each.get_by_role("complementary", name=re.compile("runs on a stand-in"))).to_be_hidden()


def test_a_download_is_cancelled_and_can_be_asked_for_again(site: Here, tab: Tab) -> None:
    site.hub.files[SMALL_WHISPER] = SMALL
    site.hub.waits_after = 1000
    page = models(tab)
    row(page, "small").get_by_role("button", name="Fetch: Whisper small").click()
    row(page, "small").get_by_role("button", name="Cancel: Whisper small").click()
    expect(row(page, "small").get_by_role("button", name="Fetch: Whisper small")).to_be_visible()
    expect(row(page, "small")).to_contain_text("not here")


def test_other_bytes_than_published_are_refused_in_plain_words(site: Here, tab: Tab) -> None:
    site.hub.files[TINY] = SMALL
    page = models(tab)
    tiny = row(page, "tiny")
    tiny.get_by_role("button", name="Fetch: Whisper tiny", exact=True).click()
    expect(tiny).to_contain_text("not the ones that were published", timeout=WITHIN_MS)
    tiny.get_by_text("Details").click()
    expect(tiny).to_contain_text("weights-checksum-mismatch")
    expect(tiny.get_by_role("button", name="Try again: Whisper tiny")).to_be_visible()
    assert serious(page) == []


def test_speed_is_what_was_measured_or_nothing(site: Here, tab: Tab, song: Path) -> None:
    page = models(tab)
    aligner = page.get_by_role("region", name="Aligner", exact=False).first
    expect(aligner).to_contain_text("not measured yet")
    ran = separate(page, bring(page, song), "hdemucs_mini")
    assert ran["state"] == "succeeded", ran["error"]
    page.reload()
    demucs = page.get_by_role("region").filter(has=page.get_by_text("hdemucs_mini", exact=True))
    expect(demucs).to_contain_text(
        re.compile(r"[\d.]+ × real time on cpu, fp32 with hdemucs_mini \(median of \d+ jobs?\)")
    )
    expect(demucs).to_contain_text("in memory")


def test_what_a_stand_in_made_says_so_until_it_is_dismissed(site: Here, tab: Tab, song: Path) -> None:
    page = tab()
    asset = bring(page, song)
    assert separate(page, asset, "hdemucs_mini")["state"] == "succeeded"
    page.goto(f"{site.url}/#/tracks/{asset}")
    note = page.get_by_role("complementary", name="About these stems")
    expect(note).to_contain_text("hdemucs_mini")
    shoot(page, "track-stand-in")
    note.get_by_role("button", name="Dismiss").click()
    expect(note).to_be_hidden()
    page.reload()
    expect(page.get_by_role("group", name="Vocals", exact=True)).to_be_visible()
    expect(note).to_be_hidden()


# ── the tray ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_failed_says_why_and_what_to_do_and_keeps_the_rest_for_who_asks(
    site: Here, tab: Tab, song: Path
) -> None:
    page = tab()
    asset = bring(page, song)
    failed = separate(page, asset, "htdemucs_6s")  # which the hub does not have
    assert (failed["state"], failed["error"]["code"]) == ("failed", "weights-unavailable")
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    tray = page.get_by_role("complementary", name="Jobs")
    tray.get_by_role("button", name="Failed").click()
    group = tray.get_by_role("region", name=song.stem).first
    job = group.get_by_role("listitem").filter(has_text="htdemucs_6s").first
    expect(job).to_contain_text("not on this machine and could not be fetched")
    expect(job).to_contain_text("neuralib models pull")
    expect(job.get_by_role("button", name="Try again: Separating stems")).to_be_visible()
    job.get_by_text("Details").click()
    expect(job).to_contain_text("Attempts")
    expect(job).to_contain_text("answered 404")
    expect(job).to_contain_text(failed["id"])
    shoot(page, "tray-failed")
    assert serious(page) == []
    tray.get_by_role("button", name="Done").click()
    expect(tray.get_by_role("listitem").filter(has_text="htdemucs_6s")).to_have_count(0)


def test_the_title_counts_what_runs_and_its_end_is_said_aloud(site: Here, tab: Tab, song: Path) -> None:
    site.hub.files[SMALL_WHISPER] = SMALL
    site.hub.waits_after = len(SMALL) // 2
    page = models(tab)
    row(page, "small").get_by_role("button", name="Fetch: Whisper small").click()
    expect(page).to_have_title(re.compile(r"^[45]\d % · "))
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    tray = page.get_by_role("complementary", name="Jobs")
    expect(tray.get_by_role("listitem").filter(has_text="Fetching weights").first).to_contain_text("MB of")
    shoot(page, "tray-running")
    tray.get_by_role("button", name="Cancel: Fetching weights").click()
    expect(page.locator("[data-about=jobs]")).to_have_text("Fetching weights with whisper/small: cancelled")
    expect(page).to_have_title(re.compile(r"^NeuraLib"))


def test_models_and_the_tray_fit_a_phone(site: Here, tab: Tab) -> None:
    for scheme in ("light", "dark"):
        page = models(tab, viewport={"width": 390, "height": 844}, color_scheme=scheme)
        expect(row(page, "htdemucs")).to_be_visible()
        shoot(page, f"models-phone-{scheme}")
        assert serious(page) == []
        page.get_by_role("button", name=re.compile("^Jobs")).click()
        expect(page.get_by_role("complementary", name="Jobs")).to_be_visible()
        shoot(page, f"tray-phone-{scheme}")
        assert serious(page) == []


def serious(page: Page) -> list[str]:
    """What axe finds to be serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {n['target']}"
        for v in found
        if v["impact"] in {"serious", "critical"}
        for n in v["nodes"]
    ]
