"""Weights are found in one order, held to their digests, and named with source and licence."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from neuralib.errors import (
    ModelLicenseForbidden,
    UnknownModel,
    WeightsChecksumMismatch,
    WeightsUnavailable,
)
from neuralib.weights import Bundled, Checkpoint, Hub, Resolver, Untrained, Wheel, _download

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = Hub(("https://hub.invalid/model.bin",), (SHA,), "m")


@pytest.fixture
def bundled(tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(CONTENT)
    return Bundled(path, SHA)


def checkpoint(name, *sources, **more):
    return Checkpoint(
        name=name, title=name, license="MIT", sources=sources, **({"commercial_use": True} | more)
    )


def test_auto_takes_the_first_that_can_be_had(tmp_path, bundled):
    weights = Resolver(tmp_path).resolve("m", [checkpoint("big", NOWHERE), checkpoint("small", bundled)])
    assert (weights.name, weights.source, weights.sha256) == ("small", "bundled", SHA)
    assert weights.id == f"m/small@sha256:{SHA}"


def test_a_file_in_the_cache_needs_no_hub(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.bin").write_bytes(CONTENT)
    assert Resolver(tmp_path).resolve("m", [checkpoint("big", NOWHERE)]).source == "cache"


def test_a_file_that_changed_in_the_cache_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.bin").write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsChecksumMismatch, match=SHA):
        Resolver(tmp_path).resolve("m", [checkpoint("big", NOWHERE)])


def test_a_hub_that_is_away_is_asked_once(tmp_path, monkeypatch):
    asked = []

    def refuse(address, timeout):
        asked.append((address, timeout))
        raise OSError("no route")

    monkeypatch.setattr("socket.create_connection", refuse)
    resolver = Resolver(tmp_path)
    for _ in range(3):
        with pytest.raises(WeightsUnavailable, match=r"hub\.invalid"):
            resolver.resolve("m", [checkpoint("big", NOWHERE), checkpoint("other", NOWHERE)])
    assert len(asked) == 1
    assert asked[0][1] <= 3


def test_offline_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(WeightsUnavailable, match="offline is set"):
        Resolver(tmp_path, offline=True).resolve("m", [checkpoint("big", NOWHERE)])


def test_an_explicit_path_wins(tmp_path, bundled):
    mine = tmp_path / "mine.bin"
    mine.write_bytes(b"mine")
    for key in ("m", "m/small"):
        weights = Resolver(tmp_path, paths={key: mine}).resolve("m", [checkpoint("small", bundled)])
        assert (weights.source, weights.files) == ("path", (mine,))
        assert weights.sha256 == hashlib.sha256(b"mine").hexdigest()


def test_a_missing_explicit_path_is_said_without_its_folder(tmp_path, bundled):
    resolver = Resolver(tmp_path, paths={"m": tmp_path / "gone.bin"})
    with pytest.raises(WeightsUnavailable, match=r"gone\.bin") as caught:
        resolver.resolve("m", [checkpoint("small", bundled)])
    assert str(tmp_path) not in caught.value.detail


def test_commercial_safe_passes_over_and_refuses(tmp_path, bundled):
    both = [checkpoint("big", bundled, commercial_use=False), checkpoint("small", bundled)]
    resolver = Resolver(tmp_path, commercial_safe=True)
    assert resolver.resolve("m", both).name == "small"
    with pytest.raises(ModelLicenseForbidden):
        resolver.resolve("m", both, "big")
    assert Resolver(tmp_path).resolve("m", both).name == "big"


def test_untrained_weights_run_only_when_asked_for(tmp_path):
    both = [checkpoint("big", NOWHERE), checkpoint("random", Untrained(), trained=False)]
    with pytest.raises(WeightsUnavailable):
        Resolver(tmp_path, offline=True).resolve("m", both)
    with pytest.raises(WeightsUnavailable, match="--allow-untrained"):
        Resolver(tmp_path, offline=True).resolve("m", both, "random")
    weights = Resolver(tmp_path, offline=True, allow_untrained=True).resolve("m", both)
    assert (weights.name, weights.source, weights.trained) == ("random", "untrained", False)


def test_an_unknown_checkpoint_names_the_known(tmp_path, bundled):
    with pytest.raises(UnknownModel, match="small"):
        Resolver(tmp_path).resolve("m", [checkpoint("small", bundled)], "large")


def test_a_bundled_file_that_is_not_the_published_one_is_refused(tmp_path, bundled):
    bundled.path.write_bytes(b"tampered")
    with pytest.raises(WeightsChecksumMismatch):
        Resolver(tmp_path).resolve("m", [checkpoint("small", bundled)])


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "packages" / "carrier"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "one.bin").write_bytes(CONTENT[:3000])
    (folder / "two.bin").write_bytes(CONTENT[3000:])
    monkeypatch.syspath_prepend(folder.parent)
    return Wheel("carrier", ("one.bin", "carrier:two.bin"), SHA, convert=join, converted="m/joined.bin")


def join(originals, into):
    into.write_bytes(b"".join(path.read_bytes() for path in originals))


def test_a_wheel_is_converted_once_and_comes_before_a_hub(tmp_path, package, monkeypatch):
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("asked the hub"))
    resolver = Resolver(tmp_path / "cache")
    both = [checkpoint("big", NOWHERE, package)]
    assert resolver.here("m", both[0]) == "wheel"
    first = resolver.resolve("m", both)
    assert (first.source, first.files[0].read_bytes()) == ("wheel", CONTENT)
    stamp = first.files[0].stat().st_mtime_ns
    assert resolver.resolve("m", both).files[0].stat().st_mtime_ns == stamp
    assert not list((tmp_path / "cache").rglob(".part-*"))


def test_a_wheel_with_other_bytes_is_refused(tmp_path, package):
    (tmp_path / "packages" / "carrier" / "two.bin").write_bytes(b"other")
    with pytest.raises(WeightsChecksumMismatch):
        Resolver(tmp_path / "cache").resolve("m", [checkpoint("big", package)])


def test_the_outlook_tells_what_would_be_tried(tmp_path, bundled):
    both = [checkpoint("big", NOWHERE), checkpoint("small", bundled), checkpoint("never", bundled)]
    outlook = Resolver(tmp_path).outlook("m", both)
    assert [(c.name, source) for c, source in outlook] == [("big", "hub"), ("small", "bundled")]
    assert [c.name for c, _ in Resolver(tmp_path, offline=True).outlook("m", both)] == ["small"]


class Files(BaseHTTPRequestHandler):
    """Sends CONTENT, or half of it."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/whole.bin" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_is_whole_or_not_there(tmp_path, hub):
    counted = []
    _download(f"{hub}/whole.bin", SHA, tmp_path / "a" / "whole.bin", lambda *c: counted.append(c))
    assert (tmp_path / "a" / "whole.bin").read_bytes() == CONTENT
    assert counted[-1] == (len(CONTENT), len(CONTENT))
    with pytest.raises(WeightsUnavailable):
        _download(f"{hub}/half.bin", SHA, tmp_path / "b" / "half.bin", lambda *_: None)
    with pytest.raises(WeightsChecksumMismatch):
        _download(f"{hub}/whole.bin", "0" * 64, tmp_path / "b" / "whole.bin", lambda *_: None)
    assert not list((tmp_path / "b").iterdir())
