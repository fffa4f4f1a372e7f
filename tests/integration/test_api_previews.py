"""A light copy of an asset, and links that open without credentials."""

import io
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
import soundfile

from api_client import Api
from neuralib.api import listening
from neuralib.config import Settings
from neuralib.db import libraries as owner_rows
from neuralib.services import Services, open_services
from servers import S3Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.with_tables(limits={"render_wait_s": 30.0})


def tone(rate: int = 96_000, channels: int = 2, seconds: float = 2.0, **kind: str) -> bytes:
    """A tone of 997 Hz that is a little different each time. At 1 kHz a block of mp3 at 48 kHz is twelve whole periods: every
    block errs alike, and by up to 7 % of the level for some phases.
    """
    rng = np.random.default_rng(uuid4().int)
    wave = 0.5 * np.sin(2 * np.pi * 997 * np.arange(round(rate * seconds)) / rate + rng.uniform(0, 6))
    file = io.BytesIO()
    shape = {"format": "WAV", "subtype": "PCM_24", **kind}
    soundfile.write(file, np.repeat(wave[:, None], channels, axis=1), rate, **shape)
    return file.getvalue()


@pytest.mark.parametrize(
    ("rate", "channels", "becomes"),
    [(96_000, 2, (48_000, 2)), (44_100, 1, (44_100, 1)), (22_050, 2, (44_100, 2)), (48_000, 6, (48_000, 1))],
)
async def test_a_preview_is_the_same_sound_and_light(
    api: Api, rate: int, channels: int, becomes: tuple[int, int]
) -> None:
    content = tone(rate, channels)
    asset = await api.asset(content, "Ünser Ton.wav")
    got = await api.get(f"{asset['urls']['content']}?variant=preview")
    assert (got.status, got.headers["Content-Type"]) == (200, "audio/mpeg")
    assert len(got.content) < len(content) / 4
    heard, heard_rate = soundfile.read(io.BytesIO(got.content), always_2d=True)
    assert (heard_rate, heard.shape[1]) == becomes
    assert abs(len(heard) / heard_rate - 2.0) < 0.1
    middle = heard[heard_rate // 2 : heard_rate // 2 + heard_rate, 0]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() == 997
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


async def test_a_preview_is_cached_resumed_and_named_like_content(api: Api) -> None:
    asset = await api.asset(tone(), "Ton.wav")
    url = f"{asset['urls']['content']}?variant=preview"
    whole = await api.get(url)
    assert "immutable" in whole.headers["Cache-Control"]
    assert whole.headers["ETag"] != f'"{asset["blob"]["sha256"]}"'
    assert "Ton.mp3" in whole.headers["Content-Disposition"]
    part = await api.get(url, headers={"Range": "bytes=10-19", "If-Range": whole.headers["ETag"]})
    assert (part.status, part.content) == (206, whole.content[10:20])
    assert (await api.get(url, headers={"If-None-Match": whole.headers["ETag"]})).status == 304
    head = await api.call("HEAD", url)
    assert head.headers["Content-Length"] == str(len(whole.content))


async def test_an_mp3_is_its_own_preview(api: Api) -> None:
    content = tone(44_100, format="MP3", subtype="MPEG_LAYER_III")
    asset = await api.asset(content, "song.mp3")
    assert (await api.get(f"{asset['urls']['content']}?variant=preview")).content == content


async def test_where_clients_cannot_reach_the_store_a_link_is_our_own_route(api: Api) -> None:
    content = tone()
    asset = await api.asset(content)
    got = await api.post(f"/assets/{asset['id']}/url", {"disposition": "attachment"})
    assert (got.status, got.json["signed"], got.json["expires_at"]) == (201, False, None)
    assert (await api.get(got.json["url"])).content == content
    direct = await api.get(f"{asset['urls']['content']}?redirect=1")
    assert (direct.status, direct.content) == (200, content)


@pytest.mark.parametrize("body", [{"ttl_s": 901}, {"ttl_s": 0}, {"variant": "x"}, {"url": "http://x"}])
async def test_a_link_of_another_kind_is_refused(api: Api, body: dict[str, object]) -> None:
    asset = await api.asset(tone(seconds=0.1))
    assert (await api.post(f"/assets/{asset['id']}/url", body)).code == "validation-failed"


# ── S3 ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s3_services(settings: Settings, s3_server: S3Server) -> AsyncIterator[Services]:
    storage = {
        "kind": "s3",
        "endpoint": s3_server.endpoint,
        "bucket": "linked",
        "access_key": s3_server.access_key,
        "secret_key": s3_server.secret_key,
        "create_bucket": True,
        "public_url": s3_server.endpoint,
    }
    async with open_services(settings.with_tables(storage=storage)) as services:
        yield services


@pytest_asyncio.fixture(loop_scope="module")
async def s3_api(s3_services: Services) -> AsyncIterator[Api]:
    async with s3_services.db.transaction() as tx:
        owner = await owner_rows.upsert_owner(tx, f"test-{uuid4()}")
    async with listening(s3_services, owner, "127.0.0.1", 0) as url, Api(url) as api:
        yield api


async def test_a_redirect_leads_to_the_bytes_without_credentials(s3_api: Api) -> None:
    content = tone()
    asset = await s3_api.asset(content, "Größe.wav")
    got = await s3_api.get(f"{asset['urls']['content']}?redirect=1&download=1", allow_redirects=False)
    assert (got.status, got.headers["Cache-Control"]) == (302, "no-store")
    async with aiohttp.ClientSession() as stranger, stranger.get(got.headers["Location"]) as answer:
        assert await answer.read() == content
        assert answer.headers["Content-Type"] == "audio/wav"
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
    head = await s3_api.call("HEAD", f"{asset['urls']['content']}?redirect=1", allow_redirects=False)
    assert head.status == 200  # a link is signed for GET alone


async def test_a_link_opens_one_variant_for_a_while(s3_api: Api) -> None:
    content = tone()
    asset = await s3_api.asset(content)
    for variant, media_type in (("original", "audio/wav"), ("preview", "audio/mpeg")):
        got = await s3_api.post(f"/assets/{asset['id']}/url", {"ttl_s": 60, "variant": variant})
        assert (got.status, got.json["signed"]) == (201, True)
        assert "X-Amz-Expires=60" in got.json["url"]
        async with aiohttp.ClientSession() as stranger:
            async with stranger.get(got.json["url"]) as answer:
                assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)
            async with stranger.get(got.json["url"].partition("?")[0]) as answer:
                assert answer.status == 403
