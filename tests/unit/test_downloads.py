"""A download is whole and verified, or not there; what broke off is gone on with."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub import LocalHub, local_hub
from neuralib.downloads import ATTEMPTS, download, part_of, size_of
from neuralib.errors import Cancelled, StorageFull, WeightsChecksumMismatch, WeightsUnavailable

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with local_hub() as hub:
        hub.files["/a/model.bin"] = CONTENT
        yield hub


def fetch(hub: LocalHub, path: Path, sha256: str | None = SHA) -> list[tuple[int, int]]:
    counted: list[tuple[int, int]] = []
    download(f"{hub.url}/a/model.bin", sha256, path, lambda *count: counted.append(count))
    return counted


def test_a_download_is_counted_and_leaves_nothing_beside_it(hub: LocalHub, tmp_path: Path) -> None:
    counted = fetch(hub, tmp_path / "m" / "model.bin")
    assert (counted[0], counted[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert [each.name for each in (tmp_path / "m").iterdir()] == ["model.bin"]
    assert (tmp_path / "m" / "model.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("pin", [SHA, None])
def test_a_line_that_breaks_is_taken_up_where_it_broke(
    hub: LocalHub, tmp_path: Path, pin: str | None
) -> None:
    hub.breaks_after = len(CONTENT) // 3
    counted = fetch(hub, tmp_path / "model.bin", pin)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    asked = [range_ for _, _, range_ in hub.asked]
    third = len(CONTENT) // 3
    assert asked == [None, f"bytes={third}-", f"bytes={2 * third}-", f"bytes={3 * third}-"]
    assert counted == sorted(counted), "it never goes back"


def test_what_came_waits_for_the_next_try(hub: LocalHub, tmp_path: Path) -> None:
    hub.breaks_after = 1000
    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(hub, tmp_path / "model.bin")
    assert hub.downloads == ATTEMPTS
    assert part_of(tmp_path / "model.bin").stat().st_size == ATTEMPTS * 1000
    hub.breaks_after = None
    assert fetch(hub, tmp_path / "model.bin")[0] == (ATTEMPTS * 1000, len(CONTENT))
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_another_file_at_the_hub_is_never_joined_to_what_came(hub: LocalHub, tmp_path: Path) -> None:
    hub.breaks_after = 1000
    with pytest.raises(WeightsUnavailable):
        fetch(hub, tmp_path / "model.bin", None)
    hub.breaks_after, hub.etag = None, '"two"'
    hub.files["/a/model.bin"] = other = CONTENT[::-1]
    fetch(hub, tmp_path / "model.bin", None)
    assert (tmp_path / "model.bin").read_bytes() == other


def test_without_a_mark_or_a_pin_it_begins_again(hub: LocalHub, tmp_path: Path) -> None:
    hub.etag = None
    part_of(tmp_path / "model.bin").write_bytes(b"of something else")
    fetch(hub, tmp_path / "model.bin", None)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_only_verified(hub: LocalHub, tmp_path: Path) -> None:
    part_of(tmp_path / "model.bin").write_bytes(CONTENT)
    fetch(hub, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert hub.asked == [("GET", "/a/model.bin", f"bytes={len(CONTENT)}-")]


def test_a_part_that_is_too_long_is_thrown_away(hub: LocalHub, tmp_path: Path) -> None:
    part_of(tmp_path / "model.bin").write_bytes(CONTENT + b"more")
    with pytest.raises(WeightsUnavailable):
        fetch(hub, tmp_path / "model.bin")
    fetch(hub, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_other_bytes_than_published_are_thrown_away(hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(WeightsChecksumMismatch, match="0000"):
        fetch(hub, tmp_path / "model.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_download_leaves_nothing(hub: LocalHub, tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        download(f"{hub.url}/a/model.bin", SHA, tmp_path / "model.bin", cancel)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_without_the_file_says_so_and_leaves_nothing(hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="404"):
        download(f"{hub.url}/nowhere", SHA, tmp_path / "model.bin", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_two_who_want_the_same_file_make_one_download(hub: LocalHub, tmp_path: Path) -> None:
    hub.waits_after = 5000
    waits = threading.Event()

    def second() -> None:
        # Its progress is told while it waits: who cancels it does not wait for the first.
        download(f"{hub.url}/a/model.bin", SHA, tmp_path / "model.bin", lambda *_: waits.set())

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, hub, tmp_path / "model.bin")
        assert hub.waiting.wait(30)
        other = pool.submit(second)
        assert waits.wait(30)
        hub.go_on.set()
        first.result(30)
        other.result(30)
    assert hub.downloads == 1
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_no_room_is_said_before_the_first_byte(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(StorageFull, match=f"{len(CONTENT)} bytes and has 10"):
        fetch(hub, tmp_path / "model.bin")
    assert list(tmp_path.iterdir()) == []


def test_the_size_is_asked_for_without_the_bytes(hub: LocalHub) -> None:
    assert size_of(f"{hub.url}/a/model.bin") == len(CONTENT)
    assert hub.downloads == 0
