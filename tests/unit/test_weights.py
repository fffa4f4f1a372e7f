"""Weights are found in one order, held to their digests, and named with source and licence."""

import hashlib

import pytest

from hub import local_hub
from neuralib.errors import (
    ModelLicenseForbidden,
    NothingToFetch,
    Offline,
    UnknownModel,
    WeightsChecksumMismatch,
    WeightsUnavailable,
)
from neuralib.weights import Bundled, Checkpoint, Hub, Resolver, Untrained, Wheel

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = Hub(("https://hub.invalid/model.bin",), (SHA,), "m")


@pytest.fixture
def bundled(tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(CONTENT)
    return Bundled((path,), (SHA,))


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
    bundled.paths[0].write_bytes(b"tampered")
    with pytest.raises(WeightsChecksumMismatch):
        Resolver(tmp_path).resolve("m", [checkpoint("small", bundled)])


def test_several_bundled_files_are_one_checkpoint_and_none_may_be_missing(tmp_path, bundled):
    second = tmp_path / "second.safetensors"
    bag = checkpoint("bag", Bundled((*bundled.paths, second), (SHA, SHA)))
    with pytest.raises(WeightsUnavailable, match=r"second\.safetensors is not in this installation"):
        Resolver(tmp_path).resolve("m", [bag])
    second.write_bytes(CONTENT)
    weights = Resolver(tmp_path).resolve("m", [bag])
    assert weights.files == (*bundled.paths, second)
    assert weights.sha256 not in {SHA, ""}
    second.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsChecksumMismatch, match=r"second\.safetensors"):
        Resolver(tmp_path).resolve("m", [bag])


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


# ── pulls ─────────────────────────────────────────────────────────────────────────────────────────────

HUB = Hub(("https://hub.invalid/a/one.bin", "https://hub.invalid/a/two.bin"), (SHA, None), "m")


@pytest.fixture
def hub():
    with local_hub() as hub:
        hub.files = {"/a/one.bin": CONTENT, "/a/two.bin": b"two" * 50}
        yield hub


def test_a_mirror_is_asked_in_place_of_the_hub_and_all_files_are_counted(tmp_path, hub):
    counted = []
    big = checkpoint("big", HUB)
    weights = Resolver(tmp_path, mirror=hub.url + "/").pull("m", big, lambda *c: counted.append(c))
    assert (weights.source, [path.name for path in weights.files]) == ("hub", ["one.bin", "two.bin"])
    whole = len(CONTENT) + 150
    assert {total for _, total in counted} == {whole}
    assert counted[-1] == (whole, whole)
    assert counted == sorted(counted)


def test_a_pull_of_what_is_here_downloads_nothing(tmp_path, hub):
    resolver = Resolver(tmp_path, mirror=hub.url)
    first = resolver.pull("m", checkpoint("big", HUB))
    asked = len(hub.asked)
    again = resolver.pull("m", checkpoint("big", HUB))
    assert (again.source, again.sha256, len(hub.asked)) == ("cache", first.sha256, asked)


def test_a_pull_mends_a_file_that_changed(tmp_path, hub):
    resolver = Resolver(tmp_path, mirror=hub.url)
    resolver.pull("m", checkpoint("big", HUB))
    (tmp_path / "m" / "one.bin").write_bytes(b"rotten")
    assert resolver.pull("m", checkpoint("big", HUB)).source == "hub"
    assert (tmp_path / "m" / "one.bin").read_bytes() == CONTENT


def test_a_pull_asks_a_hub_that_was_away_a_moment_ago(tmp_path, hub):
    resolver, big = Resolver(tmp_path, mirror=hub.url), checkpoint("big", HUB)
    files, hub.files = hub.files, {}
    with pytest.raises(WeightsUnavailable):
        resolver.resolve("m", [big])
    hub.files = files
    assert resolver.pull("m", big).source == "hub"


def test_what_may_not_be_pulled_is_refused_before_anybody_is_asked(tmp_path, hub, bundled):
    theirs = checkpoint("big", HUB, commercial_use=False)
    with pytest.raises(ModelLicenseForbidden):
        Resolver(tmp_path, mirror=hub.url, commercial_safe=True).pull("m", theirs)
    with pytest.raises(Offline):
        Resolver(tmp_path, mirror=hub.url, offline=True).pull("m", theirs)
    with pytest.raises(NothingToFetch):
        Resolver(tmp_path, mirror=hub.url).pull("m", checkpoint("small", bundled))
    assert hub.asked == []


def test_the_standing_tells_what_is_here_and_whether_it_was_read(tmp_path, hub, bundled):
    resolver, big = Resolver(tmp_path / "cache", mirror=hub.url), checkpoint("big", HUB)
    away = resolver.standing("m", big)
    assert (away.source, away.bytes, away.partial_bytes, away.sha256) == (None, None, 0, None)
    hub.breaks_after = 100
    with pytest.raises(WeightsUnavailable):
        resolver.pull("m", big)
    assert resolver.standing("m", big).partial_bytes == 500
    hub.breaks_after = None
    pulled = resolver.pull("m", big)
    here = resolver.standing("m", big)
    assert (here.source, here.bytes, here.partial_bytes) == ("cache", len(CONTENT) + 150, 0)
    assert here.sha256 == pulled.sha256
    assert Resolver(tmp_path / "cache").standing("m", big).sha256 is None, "nobody has read it yet"
    (tmp_path / "cache" / "m" / "two.bin").write_bytes(b"anew")
    assert resolver.standing("m", big).sha256 is None
    small = resolver.standing("m", checkpoint("small", bundled))
    assert (small.source, small.bytes) == ("bundled", len(CONTENT))


def test_the_choice_is_the_first_that_is_here(tmp_path, hub, bundled):
    both = [checkpoint("big", HUB), checkpoint("small", bundled, demo=True)]
    resolver = Resolver(tmp_path, mirror=hub.url)
    assert resolver.choice("m", both).demo
    resolver.pull("m", both[0])
    assert resolver.choice("m", both).name == "big"
    assert resolver.choice("m", both, "small").name == "small"
    assert resolver.choice("m", both, "unknown") is None
