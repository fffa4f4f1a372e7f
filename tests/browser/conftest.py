"""A real browser on a real server: Debian's Chromium, `neuralib up`, real audio, the models that come with us."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import neuralib as package
from acceptance.harness import Server, running
from neuralib.api.page import Page as Files

DEMO = Path(package.__file__).parent / "demo" / "song.ogg"
CHROMIUM = shutil.which("chromium")
ANSWER_MS = 20_000
expect.set_options(
    timeout=ANSWER_MS
)  # five seconds are too few on a machine that does something else besides


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = None if CHROMIUM else "there is no chromium here"
    if missing is None and not Files().built:
        missing = "the page is not built: scripts/page"
    for item in items:
        if missing and here in Path(item.path).parents:
            item.add_marker(pytest.mark.skip(reason=missing))


class Site:
    """A server that can be stopped and started again at its address."""

    def __init__(self, folder: Path, data: Path, env: dict[str, str] | None = None) -> None:
        self._folder, self.data, self._env = folder, data, env
        self._stack = ExitStack()
        self.server: Server | None = None
        self.port = "0"

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def start(self) -> None:
        words = ("up", "--data", self.data, "--port", self.port)
        self.server = self._stack.enter_context(
            running(self._folder, *words, env=self._env, says=r"is up at http")
        )
        self.port = self.url.rsplit(":", 1)[1]

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="neuralib-test-") as folder:
        Path(folder).chmod(0o711)  # as root the embedded servers run as another account
        site = Site(tmp_path_factory.mktemp("site"), Path(folder) / "data")
        site.start()
        yield site
        site.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
            env={**os.environ, "LANG": "C.UTF-8"},
        )
        yield browser
        browser.close()


class Watched:
    """A tab, and everything it should not have done."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(ANSWER_MS)
        page.on("request", lambda request: self._note(request.url, url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._read(message.type, message.text))

    def _note(self, asked: str, url: str) -> None:
        if not asked.startswith((url, "data:", "blob:")):
            self.elsewhere.append(asked)

    def _read(self, kind: str, text: str) -> None:
        # A server that is away on purpose makes the browser say so.
        if kind == "error" and "Failed to load resource" not in text and "ERR_" not in text:
            self.errors.append(text)


@pytest.fixture
def tab(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Open a tab. At the end: no error in any, and no request to anywhere but the server."""
    opened: list[Watched] = []
    with ExitStack() as stack:

        def open_tab(path: str = "/", **options: Any) -> Page:
            context = stack.enter_context(chromium.new_context(**options))
            watched = Watched(context.new_page(), site.url)
            opened.append(watched)
            watched.page.goto(site.url + path)
            return watched.page

        yield open_tab
        for watched in opened:
            assert watched.errors == []
            assert watched.elsewhere == []
