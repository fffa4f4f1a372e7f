"""Cutting a stem on the page: a region drawn on the lane, named and heard, sliced, taken away as a kit."""

import io
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from .conftest import DEMO, Site
from .test_page import MADE_WITHIN_MS, Tab, add, call, open_track, stems_of, until_after

PART = (8, 16)
SEPARATED_WITHIN_MS = 240_000
NAMES = "hit {n:03} {class}"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_part(tmp_path_factory.mktemp("songs") / "Cutting Room.wav")


def write_part(path: Path) -> Path:
    """Eight seconds of the demo song, so that they are separated soon."""
    samples, rate = soundfile.read(DEMO, start=PART[0] * 44100, stop=PART[1] * 44100)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.fixture
def page(site: Site, tab: Tab, song: Path) -> Page:
    """The song, separated, with its drums before the slicer; nothing is left of what another test cut."""
    page = prepare(tab(), song)
    stem = stems_of(page)["Drums"]
    for region in call(page, "GET", f"/api/v1/assets/{stem}/regions")["items"]:
        call(page, "DELETE", f"/api/v1/assets/{stem}/regions/{region['id']}")
    if samples := [each["id"] for each in samples_of(page, stem)]:
        call(page, "POST", "/api/v1/assets/bulk", {"asset_ids": samples, "op": "trash"})
    for name in ("Regions", "Samples"):
        expect(page.get_by_role("list", name=name)).to_have_count(0)
    return page


def prepare(page: Page, song: Path) -> Page:
    """The song, separated, with its drums before the slicer."""
    expect(
        page.get_by_role("heading", name="Drop a song").or_(page.locator(".tracks .row")).first
    ).to_be_visible()
    if page.get_by_role("link", name=song.stem, exact=True).count() == 0:
        add(page, song)
    open_track(page, song.stem)
    drums = page.get_by_role("group", name="Drums", exact=True)
    expect(page.get_by_role("region", name=re.compile("^Samples of"))).to_be_visible()
    if drums.count() == 0:
        page.get_by_role("button", name="Separate").click()
    expect(drums).to_be_visible(timeout=SEPARATED_WITHIN_MS)
    page.get_by_role("button", name="Mute Drums").focus()
    expect(page.get_by_role("region", name="Samples of Drums")).to_be_visible()
    return page


def drag(page: Page, start: float, end: float) -> None:
    """Over the ruler and lanes, between two places of the song, in seconds."""
    page.locator(".track").evaluate("(track) => track.scrollTo(0, 0)")
    surface = page.locator(".surface").bounding_box()
    view = page.evaluate("neuralib.track.view.value")
    assert surface is not None

    def x(at: float) -> float:
        return surface["x"] + surface["width"] * (at - view["start"]) / (view["end"] - view["start"])

    page.mouse.move(x(start), surface["y"] + 60)
    page.mouse.down()
    page.mouse.move(x((start + end) / 2), surface["y"] + 60)
    page.mouse.move(x(end), surface["y"] + 60)
    page.mouse.up()


def frames(page: Page, content: str) -> NDArray[Any]:
    got = page.request.get(page.url.split("#")[0] + content.lstrip("/"))
    samples, _ = soundfile.read(io.BytesIO(got.body()), dtype="int32", always_2d=True)
    return samples


def samples_of(page: Page, asset: str) -> list[dict[str, Any]]:
    library = call(page, "GET", f"/api/v1/assets/{asset}")["library_id"]
    found = call(page, "GET", f"/api/v1/libraries/{library}/assets?parent_id={asset}&role=sample&limit=200")
    return list(found["items"])


def fetched(page: Page, link: Locator) -> zipfile.ZipFile:
    with page.expect_download() as download:
        link.click()
    return zipfile.ZipFile(download.value.path())


def test_a_region_is_drawn_heard_and_cut_to_the_sample_and_comes_as_a_kit(page: Page) -> None:
    slicer = page.get_by_role("region", name="Samples of Drums")
    drag(page, 2.0, 4.0)
    page.keyboard.press("r")
    regions = slicer.get_by_role("list", name="Regions")
    expect(regions.get_by_role("listitem")).to_have_count(1)
    slicer.get_by_label("Cut at").select_option("regions")
    slicer.get_by_label("Names").fill(NAMES)
    expect(slicer.get_by_text("such as hit 001 kick", exact=True)).to_be_visible()
    slicer.get_by_label("Exact").check()
    slicer.get_by_label("Classify").uncheck()
    expect(slicer.get_by_text("such as hit 001 slice", exact=True)).to_be_visible()
    slicer.get_by_role("button", name="Slice", exact=True).click()
    expect(slicer.get_by_role("list", name="Samples").get_by_role("listitem")).to_have_count(
        1, timeout=MADE_WITHIN_MS
    )

    stem = stems_of(page)["Drums"]
    [sample] = samples_of(page, stem)
    region = call(page, "GET", f"/api/v1/assets/{stem}/regions")["items"][0]
    assert sample["name"] == "hit 001 slice"
    first, stop = sample["facts"]["start_frame"], sample["facts"]["end_frame"]
    assert first == round(region["start_s"] * sample["audio"]["sample_rate"])
    whole = frames(page, f"/api/v1/assets/{stem}/content")
    cut = frames(page, f"/api/v1/assets/{sample['id']}/content")
    assert np.array_equal(cut, whole[first:stop])

    kit = fetched(page, slicer.get_by_role("link", name="Kit"))
    [file] = [name for name in kit.namelist() if name.endswith(".wav")]
    assert Path(file).stem == sample["name"]
    assert (
        kit.read(file)
        == page.request.get(page.url.split("#")[0] + f"api/v1/assets/{sample['id']}/content").body()
    )
    zipped = fetched(page, slicer.get_by_role("button", name="Zip of all"))
    assert [name for name in zipped.namelist() if name.endswith(".wav")] == [f"{sample['name']}.wav"]

    slicer.get_by_role("button", name="Hear Part 1").click()
    until_after(page, region["start_s"] + 0.2)
    expect(slicer.get_by_role("button", name="Hear Part 1")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("neuralib.track.engine.playing.value") is False
    assert abs(page.evaluate("neuralib.track.position.value") - region["end_s"]) < 0.02, "it stops at the end"
    slicer.get_by_role("button", name="Hear hit 001 slice").click()
    expect(slicer.get_by_role("button", name="Hear hit 001 slice")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(slicer.get_by_role("button", name="Hear hit 001 slice")).to_have_attribute("aria-pressed", "false")
    slicer.get_by_role("button", name="Delete Part 1").click()
    expect(regions).to_have_count(0)


def test_onsets_are_cut_classified_and_named_by_a_template(page: Page) -> None:
    slicer = page.get_by_role("region", name="Samples of Drums")
    before = len(samples_of(page, stems_of(page)["Drums"]))
    slicer.get_by_label("Names").fill("{nobody}")
    expect(slicer.get_by_text("{nobody} is not a field")).to_be_visible()
    expect(slicer.get_by_role("button", name="Slice", exact=True)).to_be_disabled()
    slicer.get_by_label("Names").fill(NAMES)
    slicer.get_by_role("button", name="Slice", exact=True).click()
    rows = slicer.get_by_role("list", name="Samples").get_by_role("listitem")
    expect(rows.nth(before + 3)).to_be_visible(timeout=MADE_WITHIN_MS)
    expect(page.get_by_role("list", name="What is being made")).to_be_hidden(timeout=MADE_WITHIN_MS)
    made = [each for each in samples_of(page, stems_of(page)["Drums"]) if each["facts"]["region"] is None]
    assert len(made) > 3
    for each in made:
        assert each["name"] == f"hit {each['facts']['n']:03} {each['facts']['class'] or 'slice'}"
    kit = fetched(page, slicer.get_by_role("link", name="Kit"))
    files = {Path(name).stem for name in kit.namelist() if name.endswith(".wav")}
    assert {each["name"] for each in made if each["facts"]["class"] != "loop"} <= files
    assert all(re.fullmatch(r"hit \d{3} [a-z]+( \(\d+\))?", name) for name in files)
    first = slicer.get_by_role("checkbox", name=re.compile("^Choose hit 001")).first
    first.check()
    one = fetched(page, slicer.get_by_role("button", name="Zip of 1"))
    assert len([name for name in one.namelist() if name.endswith(".wav")]) == 1


def lines(page: Page) -> int:
    """How many are drawn over the drums: columns of the canvas with a colour."""
    drawn = page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
            const canvas = document.querySelector(".cuts canvas");
            if (!canvas) return done(0);
            const row = canvas.getContext("2d").getImageData(0, 9, canvas.width, 1).data;
            done(row.filter((value, n) => n % 4 === 3 && value > 0).length);
        })))"""
    )
    return int(drawn)


def counted(slicer: Locator) -> int:
    """The count that is said."""
    said = slicer.locator(".count")
    expect(said).to_have_text(re.compile(r"^\d+ slices?$"))
    return int(said.inner_text().split()[0])


def test_cuts_are_drawn_while_the_slider_moves_and_slicing_makes_just_those(page: Page) -> None:
    stem = stems_of(page)["Drums"]
    slicer = page.get_by_role("region", name="Samples of Drums")
    slider = slicer.get_by_label("Sensitivity")
    assert lines(page) == 0, "nothing is drawn before somebody wants it"
    place = slicer.get_by_role("button", name="Slice", exact=True).bounding_box()
    shown = {}
    for sensitivity in ("0", "0.35", "1", "0.7"):
        slider.fill(sensitivity)
        shown[sensitivity] = counted(slicer)
        assert lines(page) == shown[sensitivity], "the last slice ends with the recording, where no line is"
    assert shown["0"] < shown["0.7"] <= shown["1"]
    assert slicer.get_by_role("button", name="Slice", exact=True).bounding_box() == place, "nothing moved"

    page.evaluate("neuralib.track.look(2, 2)")
    within = [at for at in planned(page) if 2 <= at < 4]
    assert abs(lines(page) - len(within)) <= 1, "lines follow the view; one may lie on its edge"
    page.evaluate("neuralib.track.look(0, neuralib.track.duration.value)")

    known = {each["id"] for each in samples_of(page, stem)}
    slicer.get_by_label("Classify").uncheck()
    slicer.get_by_role("button", name="Slice", exact=True).click()
    rows = slicer.get_by_role("list", name="Samples").get_by_role("listitem")
    expect(rows).to_have_count(len(known) + shown["0.7"], timeout=MADE_WITHIN_MS)
    made = sorted(each["facts"]["start_s"] for each in samples_of(page, stem) if each["id"] not in known)
    assert made == pytest.approx(planned(page)[:-1], abs=0.005), "but for snapping to zero crossings"

    slicer.get_by_label("Cut at").select_option("equal")
    slicer.get_by_role("spinbutton", name="Parts").fill("5")
    assert (counted(slicer), lines(page)) == (5, 5)
    slicer.get_by_label("Show cuts").uncheck()
    assert lines(page) == 0
    expect(slicer.locator(".count")).to_be_empty()


def planned(page: Page) -> list[float]:
    """Seconds of the lines."""
    script = "(({ lines, sampleRate }) => lines.map((at) => at / sampleRate))(neuralib.track.cuts.value)"
    return list(page.evaluate(script))


def test_what_is_dragged_snaps_to_beats_and_to_zero_crossings(page: Page) -> None:
    slicer = page.get_by_role("region", name="Samples of Drums")
    expect(page.get_by_role("button", name="Beats")).to_be_enabled(timeout=MADE_WITHIN_MS)
    track, stem = page.evaluate("neuralib.track.id"), stems_of(page)["Drums"]
    beats = np.array(call(page, "GET", f"/api/v1/assets/{track}/analysis")["beats"])
    page.get_by_label("Snap").select_option("beat")
    near = [float(beats[2]) + 0.09, float(beats[5]) - 0.11]
    drag(page, *near)
    assert selection(page) == pytest.approx([beats[2], beats[5]], abs=1e-9)
    page.keyboard.down("Alt")
    drag(page, *near)
    page.keyboard.up("Alt")
    assert selection(page) == pytest.approx(near, abs=0.04), "Alt suspends it"

    drag(page, *near)
    page.keyboard.press("r")
    expect(slicer.get_by_role("list", name="Regions").get_by_role("listitem")).to_have_count(1)
    edge = page.locator(".edge.end_s").bounding_box()
    surface = page.locator(".surface").bounding_box()
    assert edge is not None
    assert surface is not None
    step = surface["width"] / page.evaluate("neuralib.track.duration.value")
    page.mouse.move(edge["x"] + 3, edge["y"] + 20)
    page.mouse.down()
    page.mouse.move(edge["x"] + 3 + step * float(beats[7] - beats[5]) + 4, edge["y"] + 20)
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        page.mouse.up()
    [region] = call(page, "GET", f"/api/v1/assets/{stem}/regions")["items"]
    assert [region["start_s"], region["end_s"]] == pytest.approx([beats[2], beats[7]], abs=1e-6)
    slicer.get_by_role("button", name=f"Delete {region['name']}").click()

    page.get_by_label("Snap").select_option("zero")
    drag(page, 3.0, 5.0)
    sound = frames(page, f"/api/v1/assets/{stem}/content").astype(np.float64).sum(axis=1)
    deadline = time.monotonic() + 10
    while not all(crosses(sound, at) for at in selection(page)):
        assert time.monotonic() < deadline, selection(page)
        page.wait_for_timeout(50)


def crosses(sound: NDArray[np.float64], at: float) -> bool:
    """Whether the sound changes its sign just there, on a sample."""
    n = round(at * 44100)
    return abs(at * 44100 - n) < 1e-6 and bool(sound[n - 1] * sound[n] <= 0)


def selection(page: Page) -> list[float]:
    return list(page.evaluate("Object.values(neuralib.track.selection.value)"))


def test_markers_are_set_moved_and_deleted_by_the_keyboard_alone(page: Page) -> None:
    stem = stems_of(page)["Drums"]
    expect(page.get_by_role("button", name="Beats")).to_be_enabled(timeout=MADE_WITHIN_MS)
    beats = call(page, "GET", f"/api/v1/assets/{page.evaluate('neuralib.track.id')}/analysis")["beats"]
    page.evaluate("neuralib.track.seek(2.5)")
    page.keyboard.press("k")
    marker = page.get_by_role("list", name="Regions").get_by_role("listitem").filter(has_not_text="–")
    expect(marker).to_have_count(1)

    def starts_at() -> float:
        [mine] = [
            each
            for each in call(page, "GET", f"/api/v1/assets/{stem}/regions")["items"]
            if each["kind"] == "marker"
        ]
        return float(mine["start_s"])

    assert starts_at() == pytest.approx(2.5, abs=1e-4)
    marker.get_by_role("button", name=re.compile("^Go to")).focus()
    with page.expect_response(re.compile("/regions/")):
        page.keyboard.press("Shift+ArrowRight")
    assert starts_at() == pytest.approx(2.501, abs=1e-4)
    page.get_by_label("Snap").select_option("beat")
    marker.get_by_role("button", name=re.compile("^Go to")).focus()
    with page.expect_response(re.compile("/regions/")):
        page.keyboard.press("ArrowRight")
    assert starts_at() == pytest.approx(min(each for each in beats if each > 2.501), abs=1e-4)
    assert page.evaluate("neuralib.track.position.value") == pytest.approx(2.5), "the playhead stays"
    page.keyboard.press("Delete")
    expect(marker).to_have_count(0)
