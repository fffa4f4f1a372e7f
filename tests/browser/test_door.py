"""A server that wants a key: the page asks for it, says when it is wrong, and stays open once it was right."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from acceptance.harness import neuralib

from .conftest import ANSWER_MS, Site
from .test_screens import DESK, LOOKS, PHONE, shoot

KEYS = {"NEURALIB_AUTH_MODE": "keys"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="neuralib-test-") as folder:
        Path(folder).chmod(0o711)  # as root the embedded servers run as another account
        site = Site(tmp_path_factory.mktemp("locked"), Path(folder) / "data", KEYS)
        site.start()
        yield site
        site.stop()


@pytest.mark.parametrize(("scheme", "device"), LOOKS)
def test_a_key_opens_the_page_and_it_stays_open(
    locked: Site, chromium: Browser, tmp_path: Path, scheme: str, device: str
) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport=PHONE if device == "phone" else DESK)
    page = context.new_page()
    page.set_default_timeout(ANSWER_MS)
    page.goto(locked.url)
    field = page.get_by_label("API key")
    expect(field).to_be_visible()
    shoot(page, tmp_path, f"door-{device}-{scheme}")
    tried(page, "nlk_of_nobody")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(field).to_be_visible()
    tried(page, key_of(locked))
    expect(page.get_by_role("heading", name="Drop a song")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Drop a song")).to_be_visible()
    context.close()


def tried(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open").click()


def key_of(site: Site) -> str:
    made = neuralib("keys", "create", "--name", "browser", "--scopes", "read,write,jobs", "--data", site.data)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()
