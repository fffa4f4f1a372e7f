"""The library: files that come in over a bad line, tags, filters, many at once, the trash; all of it by keyboard."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Response, expect

from acceptance.harness import write_tones

from .conftest import Site
from .test_page import MADE_WITHIN_MS, add, call, first_of, had_its_turn, hold, serious

Tab = Callable[..., Page]
PART = 8 << 20
LINE_BYTES_PER_S = 4 << 20


@pytest.fixture
def shelf(site: Site, tab: Tab) -> Iterator[Page]:
    """A library of its own, open, and gone afterwards."""
    page = tab()
    library = call(page, "POST", "api/v1/libraries", {"name": "Shelf"})["id"]
    page.goto(f"{site.url}/#/libraries/{library}")
    expect(page.get_by_role("heading", name="Drop a song")).to_be_visible()
    yield page
    deadline = time.monotonic() + MADE_WITHIN_MS / 1000  # an analysis that runs is not thrown away
    while page.request.delete(f"{site.url}/api/v1/libraries/{library}?purge=true").status == 409:
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tones")
    return [write_tones(folder / f"{name}.wav", 5 + n) for n, name in enumerate(("Amber", "Birch", "Cedar"))]


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So large that it comes in parts."""
    path = write_tones(tmp_path_factory.mktemp("takes") / "Long Take.wav", 200)
    assert path.stat().st_size > 3 * PART
    return path


def until_idle(page: Page) -> None:
    """What is being analysed cannot be thrown away."""
    expect(page.locator(".top .count")).to_have_count(0, timeout=MADE_WITHIN_MS)


def link(page: Page, name: str) -> Any:
    return page.get_by_role("link", name=name, exact=True)


# ── files on their way in ─────────────────────────────────────────────────────────────────────────────


class Parts:
    """What the page sends of an upload in parts."""

    def __init__(self, page: Page) -> None:
        self.arrived: Counter[int] = Counter()
        self.cut: Counter[int] = Counter()
        page.on("response", self._answered)
        page.on("requestfailed", self._failed)

    def _answered(self, response: Response) -> None:
        number = self._number(response.request)
        if number and response.status == 204:  # else it was refused, by a server that was about to go
            self.arrived[number] += 1

    def _failed(self, request: Request) -> None:
        # Nothing of a request went to a server that was not there.
        if (number := self._number(request)) and "REFUSED" not in str(request.failure):
            self.cut[number] += 1

    @staticmethod
    def _number(request: Request) -> int:
        found = re.search(r"/uploads/[^/]+/parts/(\d+)$", request.url)
        return int(found[1]) if found and request.method == "PUT" else 0


def on_a_slow_line(page: Page) -> Callable[[], None]:
    """Until what is returned is called."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")

    def limit(upload: int) -> None:
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        line.send("Network.emulateNetworkConditions", conditions)

    limit(LINE_BYTES_PER_S)
    return lambda: limit(-1)


def until_some_has_arrived(page: Page, take: Path) -> None:
    page.locator("#files").set_input_files(take)
    row = page.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row).to_contain_text(re.compile(r"[3-8]\d %"), timeout=MADE_WITHIN_MS)


def test_an_upload_goes_on_when_the_server_comes_back_and_sends_at_most_a_part_again(
    site: Site, shelf: Page, take: Path
) -> None:
    sent = Parts(shelf)
    fast = on_a_slow_line(shelf)
    until_some_has_arrived(shelf, take)
    site.stop()
    expect(shelf.get_by_role("list", name="Uploads")).to_contain_text("waits for the server")
    fast()
    site.start()
    expect(link(shelf, take.stem)).to_be_visible(timeout=MADE_WITHIN_MS)
    parts = -(-take.stat().st_size // PART)
    # Of a part that was cut the server may have had all: its answer was lost, and it is not sent again.
    assert sorted(sent.arrived | sent.cut) == list(range(1, parts + 1))
    assert set(sent.arrived.values()) == {1}, "what has arrived is not sent again"
    assert sum(sent.cut.values()) <= 1, "one part was on its way when the server went"


def test_an_upload_goes_on_after_a_reload_when_the_file_is_given_again(shelf: Page, take: Path) -> None:
    sent = Parts(shelf)
    fast = on_a_slow_line(shelf)
    until_some_has_arrived(shelf, take)
    shelf.reload()
    fast()
    row = shelf.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(row).to_contain_text("choose the file again")
    shelf.locator("#files").set_input_files(take)
    expect(link(shelf, take.stem)).to_be_visible(timeout=MADE_WITHIN_MS)
    assert set(sent.arrived.values()) == {1}


def test_an_upload_is_paused_and_goes_on(shelf: Page, take: Path) -> None:
    sent = Parts(shelf)
    fast = on_a_slow_line(shelf)
    until_some_has_arrived(shelf, take)
    shelf.get_by_role("button", name=f"Pause {take.name}").click()
    expect(shelf.get_by_role("list", name="Uploads")).to_contain_text("paused")
    fast()
    shelf.get_by_role("button", name=f"Go on with {take.name}").click()
    expect(link(shelf, take.stem)).to_be_visible(timeout=MADE_WITHIN_MS)
    assert set(sent.arrived.values()) == {1}


def test_what_is_no_recording_is_told_and_what_was_there_too(
    shelf: Page, tones: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "cover.jpg").write_bytes(b"no sound")
    shelf.locator("#files").set_input_files([*tones, tmp_path / "cover.jpg"])
    for each in tones:
        expect(link(shelf, each.stem)).to_be_visible(timeout=MADE_WITHIN_MS)
    told = shelf.get_by_role("region", name="Coming in")
    expect(told).to_contain_text("1 file is no recording and was skipped")
    shelf.locator("#files").set_input_files(tones[0])
    expect(told.get_by_role("link", name="the same recording")).to_be_visible(timeout=MADE_WITHIN_MS)
    until_idle(shelf)
    told.get_by_role("button", name="Drop this one").click()
    expect(link(shelf, tones[0].stem)).to_have_count(1)


# ── tags and filters ──────────────────────────────────────────────────────────────────────────────────


def test_tags_and_filters_by_keyboard_stay_in_the_address(site: Site, shelf: Page, tones: list[Path]) -> None:
    add(shelf, *tones)
    link(shelf, "Birch").focus()
    keys = shelf.keyboard
    keys.press("t")
    field = shelf.get_by_role("combobox", name="Add a tag")
    expect(field).to_be_focused()
    for word in ("dusty", "late night"):
        keys.type(word)
        keys.press("Enter")
        expect(shelf.get_by_role("button", name=f"Take {word} away")).to_be_visible()
    keys.press("Backspace")
    expect(shelf.get_by_role("button", name="Take late night away")).to_have_count(0)
    shelf.get_by_role("button", name="Done").press("Enter")
    expect(link(shelf, "Birch")).to_be_focused()

    shelf.get_by_role("combobox", name="Filter by tag").focus()
    keys.type("dus")
    expect(shelf.get_by_role("option", name="dusty")).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(shelf.get_by_text("1 track found")).to_be_visible()
    expect(link(shelf, "Amber")).to_have_count(0)
    assert "tag=dusty" in shelf.url

    link(shelf, "Birch").press("Enter")
    expect(shelf.get_by_role("heading", level=1, name="Birch")).to_be_visible()
    shelf.go_back()
    expect(shelf.get_by_text("1 track found")).to_be_visible()
    shelf.reload()
    expect(shelf.get_by_text("1 track found")).to_be_visible()
    shelf.get_by_role("button", name="Take away: dusty").click()
    expect(link(shelf, "Amber")).to_be_visible()
    assert "tag=" not in shelf.url


def test_filters_ask_the_server_and_count_what_it_finds(shelf: Page, tones: list[Path]) -> None:
    add(shelf, *tones)
    shelf.get_by_role("group", name="Rating of Cedar: 0 of 5").get_by_role("button", name="4 of 5").click()
    expect(shelf.get_by_role("group", name="Rating of Cedar: 4 of 5")).to_be_visible()
    shelf.get_by_label("Filter by rating").select_option("3")
    expect(shelf.get_by_text("1 track found")).to_be_visible()
    expect(link(shelf, "Cedar")).to_be_visible()
    shelf.get_by_role("button", name="Clear all").click()
    shelf.get_by_label("Filter by length").select_option("Under 1 min")
    expect(shelf.get_by_text("3 tracks found")).to_be_visible()
    shelf.get_by_role("button", name="stems", exact=True).click()
    expect(shelf.get_by_text("0 tracks found")).to_be_visible()
    shelf.get_by_role("button", name="Clear all").click()
    shelf.get_by_label("Filter by key").click()
    shelf.get_by_role("button", name="8A, A minor").click()
    shelf.get_by_role("button", name="What fits with 8A").click()
    expect(shelf.get_by_role("button", name="Take away: key 8A 7A 9A 8B")).to_be_visible()
    assert serious(shelf) == []


# ── answers and events that overtake each other ───────────────────────────────────────────────────────


def test_what_happened_before_the_events_could_be_heard_is_there_when_they_are(
    site: Site, tab: Tab, shelf: Page, tones: list[Path]
) -> None:
    library = shelf.url.rsplit("/", 1)[1]
    page = tab("/#/trash")
    held = hold(page, r"/api/v1/events")
    page.goto("about:blank")
    page.goto(shelf.url)
    expect(page.get_by_role("heading", name="Drop a song")).to_be_visible()  # the stream is not waited for
    file: Any = {"name": "Late.wav", "mimeType": "audio/wav", "buffer": tones[0].read_bytes()}
    assert page.request.post(f"{site.url}/api/v1/libraries/{library}/assets", multipart={"file": file}).ok
    first_of(page, held).continue_()
    expect(link(page, "Late")).to_be_visible()


def test_a_list_that_is_slower_than_a_rating_does_not_take_it_back(shelf: Page, tones: list[Path]) -> None:
    add(shelf, tones[0])
    held = hold(shelf, r"/api/v1/libraries/[^/]+/assets\?.*sort=name")
    shelf.get_by_label("Sort by").select_option("name")
    route = first_of(shelf, held)
    before = route.fetch()
    shelf.get_by_role("group", name="Rating of Amber: 0 of 5").get_by_role("button", name="4 of 5").click()
    rated = shelf.get_by_role("group", name="Rating of Amber: 4 of 5")
    expect(rated).to_be_visible()
    with shelf.expect_request_finished(lambda request: "sort=name" in request.url):
        route.fulfill(response=before)
    had_its_turn(shelf)
    assert rated.is_visible()


def test_suggestions_that_come_late_leave_the_chosen_one_chosen(shelf: Page, tones: list[Path]) -> None:
    add(shelf, tones[0])
    [asset] = call(shelf, "GET", f"api/v1/libraries/{shelf.url.rsplit('/', 1)[1]}/assets")["items"]
    call(
        shelf, "POST", "api/v1/assets/bulk", {"asset_ids": [asset["id"]], "op": "set", "add_tags": ["velvet"]}
    )
    field = shelf.get_by_role("combobox", name="Filter by tag")
    field.focus()
    shelf.keyboard.type("vel")
    option = shelf.get_by_role("option", name="velvet")
    expect(option).to_be_visible()
    held = hold(shelf, r"/tags/suggest\?q=velv&")
    shelf.keyboard.type("v")
    route = first_of(shelf, held)
    shelf.keyboard.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    with shelf.expect_request_finished(lambda request: "q=velv&" in request.url):
        route.continue_()
    had_its_turn(shelf)
    shelf.keyboard.press("Enter")
    expect(shelf.get_by_role("button", name="Take away: velvet")).to_be_visible()


# ── many at once, and the trash ───────────────────────────────────────────────────────────────────────


def test_many_are_rated_and_thrown_away_by_keyboard_and_come_back(shelf: Page, tones: list[Path]) -> None:
    add(shelf, *tones)
    until_idle(shelf)
    link(shelf, "Cedar").focus()  # the newest is first
    keys = shelf.keyboard
    keys.press("Home")
    keys.press("x")
    keys.press("Shift+ArrowDown")
    expect(shelf.get_by_role("toolbar", name="The chosen tracks")).to_contain_text("2 chosen")
    keys.press("Control+a")
    expect(shelf.get_by_role("toolbar", name="The chosen tracks")).to_contain_text("3 chosen")
    keys.press("3")
    expect(shelf.get_by_role("group", name=re.compile(": 3 of 5$"))).to_have_count(3)
    keys.press("Delete")
    dialog = shelf.get_by_role("dialog", name="Move 3 tracks to the trash?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Move to the trash").press("Enter")
    expect(shelf.get_by_text("3 tracks are in the trash.")).to_be_visible()
    expect(shelf.get_by_role("heading", name="Drop a song")).to_be_visible()

    shelf.get_by_role("link", name="Trash").click()
    trash = shelf.get_by_role("list", name="In the trash")
    expect(trash).to_contain_text("kept until")
    assert serious(shelf) == []
    shelf.get_by_role("button", name="Restore Birch").click()
    expect(trash.get_by_text("Birch")).to_have_count(0)
    shelf.get_by_role("button", name="Delete Amber for good").click()
    shelf.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    expect(trash.get_by_text("Amber")).to_have_count(0)
    shelf.get_by_role("button", name="Empty the trash").click()
    shelf.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(trash.get_by_text("Cedar")).to_be_visible()
    shelf.get_by_role("link", name="Library").click()
    expect(link(shelf, "Birch")).to_be_visible()


def test_a_library_is_made_renamed_and_thrown_away_in_dialogs_of_the_page(shelf: Page) -> None:
    shelf.get_by_role("button", name="Rename the library").click()
    name = shelf.get_by_role("textbox", name="Name")
    expect(name).to_be_focused()
    name.fill("Shelf of tapes")
    name.press("Enter")
    chosen = shelf.locator(".libraries select")
    expect(chosen.locator("option:checked")).to_have_text("Shelf of tapes")
    shelf.get_by_role("button", name="New library").click()
    shelf.get_by_role("textbox", name="Name").fill("Short-lived")
    shelf.get_by_role("button", name="Make it").click()
    expect(chosen.locator("option:checked")).to_have_text("Short-lived")
    shelf.get_by_role("button", name="Delete the library").click()
    shelf.get_by_role("dialog").get_by_role("button", name="Move to the trash").click()
    expect(shelf.get_by_text("The library is in the trash.")).to_be_visible()
    expect(chosen.locator("option", has_text="Short-lived")).to_have_count(0)


def test_cards_preview_and_help(shelf: Page, tones: list[Path]) -> None:
    add(shelf, *tones)
    shelf.get_by_role("button", name="Cards").click()
    wave = shelf.get_by_role("img", name="Waveform of Amber")
    expect(wave).to_be_visible()
    shelf.get_by_label("Sort by").select_option("name")  # two come in at a time: which is newer is chance
    expect(shelf.get_by_role("img", name=re.compile("^Waveform of")).first).to_have_accessible_name(
        "Waveform of Amber"
    )
    link(shelf, "Cedar").focus()
    shelf.keyboard.press("ArrowLeft")
    expect(link(shelf, "Birch")).to_be_focused()
    shelf.keyboard.press(" ")
    expect(shelf.get_by_role("button", name="Stop Birch")).to_be_visible()
    shelf.get_by_role("button", name="Hear Amber").click()
    expect(shelf.get_by_role("button", name=re.compile("^Stop "))).to_have_count(1)
    expect(shelf.get_by_role("button", name=re.compile("^Stop "))).to_have_count(  # it was heard to its end
        0, timeout=MADE_WITHIN_MS
    )
    assert serious(shelf) == []
    shelf.keyboard.press("?")
    expect(shelf.get_by_role("dialog", name="Keys")).to_contain_text("mute, solo")
    shelf.keyboard.press("Escape")
    expect(shelf.get_by_role("dialog")).to_have_count(0)
