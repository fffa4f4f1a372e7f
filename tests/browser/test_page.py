"""What people do on the page: a song in, stems alone, words in time, work that can be stopped and survives."""

import io
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from playwright.sync_api import APIRequestContext, APIResponse, Browser, Locator, Page, Route, expect

from acceptance.harness import write_tones

from .conftest import DEMO, Site

Tab = Callable[..., Page]
MADE_WITHIN_MS = 120_000
PLAYS_WITHIN_S = 40.0
STEMS = ("Vocals", "Drums", "Bass", "Other")


# ── what tests do often ───────────────────────────────────────────────────────────────────────────────


def add(page: Page, *songs: Path) -> None:
    """Bring songs in and wait until they are there."""
    page.locator("#files").set_input_files(list(songs))
    for song in songs:
        expect(page.get_by_role("link", name=song.stem, exact=True).first).to_be_visible(
            timeout=MADE_WITHIN_MS
        )


def open_track(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def call(page: Page, method: str, path: str, body: Any = None) -> Any:
    got = page.request.fetch(page.url.split("#")[0] + path.lstrip("/"), method=method, data=body)
    assert got.ok, (got.status, got.text())
    return got.json() if got.body() else None


def asked_for(page: Page, button: str, region: Locator) -> Locator:
    """What a button makes, made now if it was not there."""
    wanted = page.get_by_role("button", name=button, exact=True)
    expect(region.or_(wanted).first).to_be_visible()
    if not region.is_visible():
        wanted.click()
    expect(region).to_be_visible(timeout=MADE_WITHIN_MS)
    return region


def hold(page: Page, pattern: str) -> list[Route]:
    """The next request of this kind waits until it is let go on; what comes after it does not."""
    held: list[Route] = []

    def take(route: Route) -> None:
        held.append(route)

    page.route(re.compile(pattern), take, times=1)
    return held


def first_of(page: Page, held: list[Any]) -> Any:
    """What a route has taken, once it has."""
    deadline = time.monotonic() + MADE_WITHIN_MS / 1000
    while not held:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)
    return held[0]


def had_its_turn(page: Page) -> None:
    """The page has seen what was answered before, and shows it."""
    page.evaluate("fetch('/healthz').then(() => new Promise(requestAnimationFrame))")


def stems_of(page: Page) -> dict[str, str]:
    """The ids of the stems of the open track."""
    lanes = page.evaluate("neuralib.track.lanes.value.map((lane) => [lane.label, lane.asset.id])")
    return dict(lanes)


def position(page: Page) -> float:
    return float(page.evaluate("neuralib.track.position.value"))


def until_after(page: Page, seconds: float) -> None:
    """Let the song play. (Playwright's own way to wait for a value needs `eval`, which the page forbids.)"""
    deadline = time.monotonic() + PLAYS_WITHIN_S
    while position(page) <= seconds:
        assert time.monotonic() < deadline, page.evaluate("neuralib.track.engine.error.value")
        page.wait_for_timeout(50)


def heard(page: Page) -> NDArray[np.float64]:
    """The last 0.7 seconds that left the audio graph, as one channel."""
    return np.array(
        page.evaluate(
            """() => {
                const { meter } = neuralib.track.engine;
                const samples = new Float32Array(meter.fftSize);
                meter.getFloatTimeDomainData(samples);
                return Array.from(samples);
            }"""
        )
    )


def stem(page: Page, asset: str) -> NDArray[np.float64]:
    got = page.request.get(page.url.split("#")[0] + f"api/v1/assets/{asset}/content")
    samples, _ = soundfile.read(io.BytesIO(got.body()), always_2d=True)
    return samples.mean(axis=1)


def likeness_db(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """How far the difference lies below the part, where it fits into the whole best: the same sound is beyond 60 dB."""
    size = 1 << (len(whole) + len(part)).bit_length()
    spectrum = np.fft.rfft(whole, size)
    places = len(whole) - len(part) + 1
    matches = np.fft.irfft(spectrum * np.conj(np.fft.rfft(part, size)), size)[:places]
    energies = _running(whole**2, len(part))
    at = int(np.argmin(energies - 2 * matches))
    difference = part - whole[at : at + len(part)]
    return float(10 * np.log10(np.sum(part**2) / (np.sum(difference**2) + 1e-20)))


def _running(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The sum of every `length` neighbours."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return sums[length:] - sums[:-length]


def loudest(samples: NDArray[np.float64], rate: int = 44100) -> float:
    """Where the loudest second begins, not in the last three."""
    return float(np.argmax(_running(samples[: -3 * rate] ** 2, rate)) / rate)


class Songs:
    """Brings songs in without the page."""

    def __init__(self, api: APIRequestContext, site: Site, folder: Path) -> None:
        self._api, self._site, self._folder = api, site, folder
        self._numbers = itertools.count(1)
        had = self.ask("GET", "/libraries")["items"]
        self._library = (had or [self.ask("POST", "/libraries", data={"name": "Songs"})])[0]["id"]

    def ask(self, method: str, path: str, **options: Any) -> Any:
        got = self._api.fetch(f"{self._site.url}/api/v1{path}", method=method, **options)
        assert got.ok, (got.status, got.text())
        return got.json()

    def bring(self, path: Path) -> str:
        """The id of the song that is there now."""
        file: Any = {"name": path.name, "mimeType": "audio/wav", "buffer": path.read_bytes()}
        came = self.ask("POST", f"/libraries/{self._library}/assets", multipart={"file": file})
        return str(came["items"][0]["asset"]["id"])

    def separate(self, asset: str) -> None:
        """Its stems, once they are there."""
        job = self.ask("POST", "/jobs", data={"operation": "separate", "inputs": [{"asset_id": asset}]})
        deadline = time.monotonic() + MADE_WITHIN_MS / 1000
        while job["finished_at"] is None and time.monotonic() < deadline:
            job = self.ask("GET", f"/jobs/{job['id']}?wait_s=5")
        assert job["state"] == "succeeded", job

    def long(self) -> str:
        """The name of a song that nobody worked on and that takes a while."""
        number = next(self._numbers)
        path = write_tones(self._folder / f"Long Way {number}.wav", 150 + number / 10)
        self.bring(path)
        return path.stem


@pytest.fixture(scope="module")
def songs(chromium: Browser, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Songs]:
    with chromium.new_context() as context:
        yield Songs(context.request, site, tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def song(songs: Songs, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a song with a voice, taken apart."""
    path = tmp_path_factory.mktemp("songs") / "Northern Line.ogg"
    path.write_bytes(DEMO.read_bytes())
    songs.separate(songs.bring(path))
    return path.stem


# ── the evening ───────────────────────────────────────────────────────────────────────────────────────


def test_a_song_comes_in_is_taken_apart_and_one_stem_is_heard_alone(
    site: Site, tab: Tab, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(DEMO)
    song = tmp_path / "Southern Line.wav"
    soundfile.write(song, samples[: 20 * rate], rate)
    page = tab()
    add(page, song)
    open_track(page, song.stem)
    page.get_by_role("button", name="Separate").click()
    expect(page.get_by_role("list", name="What is being made")).to_be_visible()
    for name in STEMS:
        expect(page.get_by_role("group", name=name, exact=True)).to_be_visible(timeout=MADE_WITHIN_MS)
    sounds = {name: stem(page, asset) for name, asset in stems_of(page).items() if name in STEMS}
    sung = loudest(sounds["Vocals"])

    page.evaluate("neuralib.track.engine.meter.fftSize = 32768")
    page.evaluate("(at) => neuralib.track.seek(at)", sung)
    page.get_by_role("button", name="Solo Vocals").click()
    page.get_by_role("button", name="Play").click()
    until_after(page, sung + 1.2)
    alone = heard(page)
    assert likeness_db(alone, sounds["Vocals"]) > 60
    assert likeness_db(alone, sum(sounds.values())) < 20, "nothing else is in it"

    page.get_by_role("button", name="Solo Bass").click()
    page.evaluate("(at) => neuralib.track.seek(at)", sung)
    until_after(page, sung + 1.2)
    both = sounds["Vocals"] + sounds["Bass"]
    assert likeness_db(heard(page), both) > 60, "two stems run on the same frame"
    page.get_by_role("button", name="Pause").click()


def test_lyrics_follow_the_song_and_a_word_leads_into_it(site: Site, tab: Tab, song: str) -> None:
    page = tab()
    open_track(page, song)
    lyrics = asked_for(page, "Lyrics", page.get_by_role("region", name="Lyrics"))
    words = lyrics.locator(".word")
    assert words.count() > 10
    words.nth(8).click()
    expect(words.nth(8)).to_have_class("word sung")
    at = position(page)
    page.get_by_role("button", name="Play").click()
    until_after(page, at + 2)
    expect(words.nth(8)).not_to_have_class("word sung")
    page.get_by_role("button", name="Pause").click()


def test_notes_of_a_stem_are_drawn(site: Site, tab: Tab, song: str) -> None:
    page = tab()
    open_track(page, song)
    expect(page.get_by_role("group", name="Bass", exact=True)).to_be_visible()
    page.get_by_role("button", name="Mute Bass").focus()
    roll = asked_for(page, "Notes", page.get_by_role("img", name=re.compile(r"\d+ notes of Bass")))
    painted = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((v) => v > 0)"
    assert roll.evaluate(painted)


def test_notes_are_heard_at_their_place_while_the_stems_are_silent(site: Site, tab: Tab, song: str) -> None:
    page = tab()
    open_track(page, song)
    page.get_by_role("button", name="Mute Bass").focus()
    asked_for(page, "Notes", page.get_by_role("region", name="Notes of Bass"))
    notes = page.evaluate("neuralib.track.notes.value.get(neuralib.track.focused.value)")
    longest = max(notes, key=lambda note: note["end"] - note["start"])
    middle = (longest["start"] + longest["end"]) / 2
    page.evaluate(
        "neuralib.track.lanes.value.forEach((lane) => neuralib.track.mix(lane.asset.id, { mute: true }))"
    )
    page.evaluate("(at) => neuralib.track.seek(at)", max(0.0, longest["start"] - 0.5))
    page.get_by_role("button", name="Play").click()
    until_after(page, middle)
    assert np.abs(heard(page)).max() < 1e-3, "nothing sounds before somebody asks"

    page.get_by_role("button", name="Hear the notes").click()
    page.evaluate("(at) => neuralib.track.seek(at)", max(0.0, longest["start"] - 0.5))
    until_after(page, middle)
    sound, now = heard(page), position(page)
    page.get_by_role("button", name="Pause").click()
    rate = page.evaluate("neuralib.track.engine.context.sampleRate")
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    strongest = float(np.argmax(spectrum)) * rate / len(sound)
    window = len(sound) / rate + 0.1
    sounding = [n["pitch"] for n in notes if n["start"] < now and n["end"] > now - window]
    pitch = 69 + 12 * np.log2(strongest / 440)
    assert min(abs(pitch - each) for each in sounding) < 0.6, (pitch, sounding)


# ── work that can be stopped, and that outlives page and server ───────────────────────────────────────


@pytest.fixture
def long(songs: Songs) -> str:
    """The name of a song that nobody worked on and that takes a while."""
    return songs.long()


def separating(page: Page, song: str) -> Locator:
    """The tray, while this song is being separated."""
    open_track(page, song)
    page.get_by_role("button", name="Separate").click()
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    tray = page.get_by_role("complementary", name="Jobs")
    expect(tray.get_by_text(re.compile(r"window \d+ of \d+"))).to_be_visible(timeout=MADE_WITHIN_MS)
    return tray


def test_a_job_is_cancelled_from_the_tray(site: Site, tab: Tab, long: str) -> None:
    page = tab()
    tray = separating(page, long)
    tray.get_by_role("button", name="Cancel: Separating stems").click()
    expect(tray.get_by_text("cancelled").first).to_be_visible()
    expect(tray.get_by_role("button", name="Try again: Separating stems").first).to_be_visible()


def test_an_answer_that_is_slower_than_the_events_does_not_bring_an_ended_job_back(
    site: Site, tab: Tab, long: str
) -> None:
    page = tab()
    tray = separating(page, long)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/cancel", lambda route: held.append((route, route.fetch())))
    tray.get_by_role("button", name="Cancel: Separating stems").click()
    expect(tray.get_by_role("progressbar", name="Separating stems")).to_be_hidden()  # it has ended
    route, answer = first_of(page, held)
    assert answer.json()["state"] == "cancelling"
    with page.expect_request_finished(lambda request: request.url.endswith("/cancel")):
        route.fulfill(response=answer)
    had_its_turn(page)
    assert not tray.get_by_text("stopping").is_visible()


def test_a_reload_and_a_second_tab_see_the_same_work(site: Site, tab: Tab, long: str) -> None:
    first, second = tab(), tab()
    open_track(first, long)
    first.get_by_role("button", name="Separate").click()
    working = re.compile(r"window \d+ of \d+")
    expect(first.get_by_text(working).first).to_be_visible(timeout=MADE_WITHIN_MS)
    open_track(second, long)
    expect(second.get_by_text(working).first).to_be_visible()
    first.reload()
    expect(first.get_by_text(working).first).to_be_visible()
    for page in (first, second):
        expect(page.get_by_role("group", name="Vocals", exact=True)).to_be_visible(timeout=MADE_WITHIN_MS)


def test_the_page_goes_on_when_the_server_was_away(site: Site, tab: Tab, long: str) -> None:
    page = tab()
    open_track(page, long)
    site.stop()
    expect(page.get_by_text("offline")).to_be_visible()
    site.start()
    expect(page.get_by_text("offline")).to_be_hidden(timeout=MADE_WITHIN_MS)
    page.get_by_role("button", name="Lyrics").click()
    expect(page.get_by_role("list", name="What is being made")).to_be_visible()


def test_a_file_that_is_no_audio_says_why_and_what_to_do(site: Site, tab: Tab, tmp_path: Path) -> None:
    page = tab()
    (tmp_path / "notes.mp3").write_text("this is no song")
    page.locator("#files").set_input_files(tmp_path / "notes.mp3")
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row.get_by_role("alert")).to_contain_text(re.compile("audio|format", re.IGNORECASE))
    expect(row.get_by_role("button", name="Try again")).to_be_visible()


# ── for everybody ─────────────────────────────────────────────────────────────────────────────────────


def test_the_keyboard_alone_goes_from_a_song_to_a_solo(
    site: Site, tab: Tab, song: str, tmp_path: Path
) -> None:
    page = tab()
    expect(page.get_by_role("link", name=song, exact=True).first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("nothing is called this")
    expect(page.get_by_text("Nothing here has that")).to_be_visible()
    for _ in "nothing is called this":
        page.keyboard.press("Backspace")
    page.keyboard.type(song.split(maxsplit=1)[0].lower())
    expect(page).to_have_url(re.compile("q=northern$"))
    expect(page.get_by_text("1 track found")).to_be_visible()  # not what was found before the last letter
    link = page.get_by_role("link", name=song, exact=True)
    expect(link).to_be_visible()
    for _ in range(30):
        if link.evaluate("(link) => link === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Drums", exact=True)).to_be_visible()
    solo = page.get_by_role("button", name="Solo Drums")
    for _ in range(60):
        if solo.evaluate("(button) => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(solo).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("m")
    expect(page.get_by_role("button", name="Mute Drums")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(site: Site, tab: Tab, song: str, scheme: str) -> None:
    page = tab(color_scheme=scheme)
    expect(page.get_by_role("link", name=song, exact=True).first).to_be_visible()
    assert serious(page) == []
    page.get_by_role("button", name=re.compile("^Jobs")).click()
    assert serious(page) == []
    page.get_by_role("button", name="Close jobs").click()
    open_track(page, song)
    asked_for(page, "Lyrics", page.get_by_role("region", name="Lyrics"))
    assert serious(page) == []
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    assert serious(page) == []


def serious(page: Page) -> list[str]:
    """What axe finds to be serious or critical, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


def test_the_page_may_run_nothing_but_its_own_files(site: Site, tab: Tab) -> None:
    page = tab()
    policy = page.request.get(site.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.evaluate("document.querySelectorAll('script:not([src])').length") == 0


def test_the_first_load_is_small(site: Site, tab: Tab) -> None:
    page = tab()
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('/page/')).map((e) => e.encodedBodySize)"
    )
    assert 0 < sum(sizes) < 200 * 1024
