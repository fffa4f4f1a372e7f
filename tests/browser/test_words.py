"""Lyrics that people make right on the page. The song and what was heard in it come in an archive: nothing is transcribed."""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from acceptance.harness import write_tones

from .conftest import Site
from .test_page import first_of, had_its_turn, hold

Tab = Callable[..., Page]
WORDS = [("Oh", 0.0, 0.9), ("yes", 0.9, 0.3), ("we", 2.0, 0.8), ("can", 2.5, 0.9), ("sing", 4.0, 0.9)]
LINES = [(0.0, 1.8, WORDS[:2]), (2.0, 3.8, WORDS[2:4]), (4.0, 5.5, WORDS[4:])]


@pytest.fixture
def archive(tmp_path: Path) -> tuple[str, Path]:
    """A song of its own for each test: (name, archive)."""
    name = f"Sung {uuid4().hex[:8]}"
    write_tones(tmp_path / "song.wav", 6.0)
    files = {f"{name}.wav": (tmp_path / "song.wav").read_bytes(), "lyrics.json": transcript()}
    track = str(uuid4())
    told: dict[str, Any] = {
        "name": name,
        "role": "track",
        "kind": "audio",
        "media_type": "audio/wav",
        "id": track,
    }
    words = {"name": "lyrics", "role": "transcript", "kind": "transcript", "media_type": "application/json",
             "id": str(uuid4()), "parent_id": track, "facts": {"file": "lyrics.json"}}  # fmt: skip
    now = datetime.now(UTC).isoformat()
    for part, (file, content) in zip((told, words), files.items(), strict=True):
        part |= {
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "created_at": now,
        }
    manifest = {"neuralib": "1", "exported_at": now, "assets": [told, words], "derivations": []}
    path = tmp_path / "song.zip"
    with zipfile.ZipFile(path, "w") as out:
        for file, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            out.writestr(file, content)
    return name, path


def transcript() -> bytes:
    segments = [
        {
            "text": " ".join(word for word, _, _ in words),
            "start": start,
            "end": end,
            "words": [{"text": w, "start": at, "end": at + 0.5, "probability": p} for w, at, p in words],
        }
        for start, end, words in LINES
    ]
    return json.dumps({"language": "en", "duration": 6.0, "segments": segments}).encode()


@pytest.fixture
def page(site: Site, tab: Tab, archive: tuple[str, Path]) -> Page:
    """The song, open."""
    name, path = archive
    page = tab()
    library = page.request.post(f"{site.url}/api/v1/libraries", data={"name": name}).json()["id"]
    form: Any = {"file": {"name": "song.zip", "mimeType": "application/zip", "buffer": path.read_bytes()}}
    got = page.request.post(f"{site.url}/api/v1/libraries/{library}/imports", multipart=form)
    assert got.ok, got.text()
    items = page.request.get(f"{site.url}/api/v1/libraries/{library}/assets").json()["items"]
    page.goto(f"{site.url}/#/tracks/{items[0]['id']}")
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    return page


def edit(page: Page) -> Locator:
    lyrics = page.get_by_role("region", name="Lyrics")
    lyrics.get_by_role("button", name="Edit").click()
    return lyrics


def field(lyrics: Locator, n: int) -> Locator:
    return lyrics.get_by_role("textbox", name=f"Line {n}", exact=True)


def test_a_line_is_edited_and_still_there_after_a_reload_and_in_another_tab(page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    there = other.get_by_role("region", name="Lyrics")
    expect(there).to_contain_text("Oh")
    lyrics = edit(page)
    field(lyrics, 1).fill("Oh yeah")
    field(lyrics, 1).press("Enter")
    expect(there.get_by_role("button", name="yeah")).to_be_visible()
    page.reload()
    lyrics = page.get_by_role("region", name="Lyrics")
    lyrics.get_by_role("button", name="yeah").click()
    expect(lyrics.locator(".sung")).to_have_text("yeah")


def test_escape_gives_up_and_tab_saves_on_the_way_to_the_next_line(page: Page) -> None:
    lyrics = edit(page)
    field(lyrics, 1).fill("nonsense")
    field(lyrics, 1).press("Escape")
    expect(field(lyrics, 1)).to_have_value("Oh yes")
    field(lyrics, 2).fill("we could")
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(field(lyrics, 3)).to_be_focused()
    lyrics.get_by_role("button", name="Edit").click()
    expect(lyrics.get_by_role("button", name="could")).to_be_visible()


def test_lines_are_split_joined_deleted_and_begun_at_the_playhead(page: Page) -> None:
    lyrics = edit(page)
    field(lyrics, 2).click()
    field(lyrics, 2).evaluate("(field) => field.setSelectionRange(3, 3)")
    field(lyrics, 2).press("Alt+s")
    expect(field(lyrics, 3)).to_have_value("can")
    expect(lyrics.get_by_role("button", name="Go to line 3")).to_have_text("0:02.5")
    field(lyrics, 2).press("Alt+j")
    expect(field(lyrics, 2)).to_have_value("we can")
    page.evaluate("neuralib.track.seek(2.2)")
    field(lyrics, 2).press("Alt+t")
    expect(lyrics.get_by_role("button", name="Go to line 2")).to_have_text("0:02.2")
    field(lyrics, 3).press("Alt+Backspace")
    expect(field(lyrics, 3)).to_have_count(0)


def test_the_machine_s_words_come_back_from_the_revisions(page: Page) -> None:
    lyrics = edit(page)
    field(lyrics, 1).fill("All wrong")
    field(lyrics, 1).press("Enter")
    lyrics.get_by_text("Revisions", exact=True).click()
    lyrics.get_by_role("button", name="Restore revision 1").click()
    expect(field(lyrics, 1)).to_have_value("Oh yes")
    expect(lyrics.get_by_role("list", name="Revisions")).to_contain_text("1 again")


def test_a_line_that_is_saved_and_left_before_the_answer_is_saved_once(page: Page) -> None:
    lyrics = edit(page)
    saves: list[str] = []
    page.on("request", lambda request: saves.append(request.url) if request.method == "PATCH" else None)
    held = hold(page, "/transcript$")
    field(lyrics, 1).fill("Oh yeah")
    field(lyrics, 1).press("Enter")
    lyrics.get_by_text("Revisions", exact=True).click()
    first_of(page, held).continue_()
    past = lyrics.get_by_role("list", name="Revisions").get_by_role("listitem")
    expect(past.filter(has_text="edited")).to_have_count(1)
    expect(past.filter(has_text="shown")).to_have_text(re.compile("^2"))
    field(lyrics, 2).fill("we could")
    field(lyrics, 2).press("Enter")
    expect(past.filter(has_text="shown")).to_have_text(re.compile("^3"))
    assert len(saves) == 2


def test_an_answer_that_is_slower_than_a_later_one_is_not_shown_over_it(page: Page) -> None:
    address = page.url.split("#")[0] + f"api/v1/assets/{page.evaluate('neuralib.track.id')}"
    version = page.request.get(address).json()["version"]
    held = hold(page, f"{re.escape(address)}$")
    rename(page, address, "Before")
    route = first_of(page, held)
    before = route.fetch()
    page.evaluate(
        """(last) => {
            const heard = new EventSource("/api/v1/events?last_event_id=0");
            window.after = new Promise((done) => heard.addEventListener("asset.updated", (event) => {
                if (JSON.parse(event.data).version === last) done(heard.close());
            }));
        }""",
        version + 2,
    )
    rename(page, address, "After")
    page.evaluate("window.after")
    had_its_turn(page)
    had_its_turn(page)
    with page.expect_request_finished(lambda request: request.url == address):
        route.fulfill(response=before)
    had_its_turn(page)
    expect(page.get_by_role("heading", level=1, name="After")).to_be_visible()


def rename(page: Page, address: str, name: str) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    assert page.request.patch(address, data={"name": name}, headers=headers).ok


def test_who_saves_second_is_asked_whose_words_to_take(page: Page) -> None:
    lyrics = edit(page)
    field(lyrics, 1).fill("mine")
    asset = page.evaluate("neuralib.track.wording.value.asset")
    address = page.url.split("#")[0] + f"api/v1/assets/{asset}/transcript"
    lines = [{"text": "theirs", "start_s": 0.0, "end_s": 1.8}]
    assert page.request.patch(address, data={"segments": lines}).ok
    field(lyrics, 1).press("Enter")
    alert = lyrics.get_by_role("alert")
    expect(alert).to_contain_text("saved elsewhere")
    alert.get_by_role("button", name="Save mine over it").click()
    expect(alert).to_have_count(0)
    assert page.request.get(address).json()["segments"][0]["text"] == "mine"
    assert page.request.get(f"{address}/revisions/2").json()["text"] == "theirs"


def test_what_was_heard_badly_is_marked_and_the_words_can_be_taken_home(page: Page) -> None:
    lyrics = page.get_by_role("region", name="Lyrics")
    expect(lyrics.locator(".doubt")).to_have_text(["yes"])
    with page.expect_download() as told:
        lyrics.get_by_role("link", name="Download as LRC").click()
    assert re.fullmatch(r"Sung \w+\.lrc", told.value.suggested_filename)
    assert "[00:02.00]we can" in Path(told.value.path()).read_text()


def test_axe_finds_nothing_serious_while_words_are_edited(page: Page) -> None:
    edit(page).get_by_text("Revisions", exact=True).click()
    expect(page.get_by_role("list", name="Revisions")).to_contain_text("as it was heard")
    found = Axe().run(page, context=".lyrics").response["violations"]
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert [
        (each["id"], node["target"], node["failureSummary"]) for each in serious for node in each["nodes"]
    ] == []
