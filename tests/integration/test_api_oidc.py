"""Tokens of an OpenID provider: which ones open the API, for whom, for how long, and what happens when keys rotate."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from api_client import Api, Got
from issuer import AUDIENCE, Issuer, forged, running_issuer
from neuralib import identity
from neuralib.api import listening
from neuralib.api.auth import keyring
from neuralib.api.auth.oidc import Issuer as OurIssuer
from neuralib.config import Oidc, load_settings
from neuralib.entities import Scope
from neuralib.errors import (
    ConfigurationError,
    IssuerUnavailable,
    NeuralibError,
    TokenExpired,
    Unauthenticated,
)
from neuralib.services import Services, open_services

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as issuer:
        yield issuer


@pytest_asyncio.fixture(loop_scope="module")
async def url(issuer: Issuer, settings) -> AsyncIterator[str]:
    whole = settings.with_tables(
        auth={"mode": "oidc"}, oidc={"issuer": issuer.url, "audience": AUDIENCE, "leeway_s": 5.0}
    )
    async with open_services(whole) as services:
        local = await identity.ensure_owner(services.db, f"test-{uuid4()}")
        async with listening(services, local, "127.0.0.1", 0) as url:
            yield url


async def get(url: str, token: str, path: str = "/me") -> Got:
    async with Api(url, {"Authorization": f"Bearer {token}"}) as api:
        return await api.get(path)


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_subject_becomes_an_owner_at_first_sight_and_stays_one(url: str, issuer: Issuer) -> None:
    subject = f"alice-{uuid4()}"
    me = (await get(url, issuer.token(sub=subject))).json
    assert (me["owner"]["issuer"], me["owner"]["subject"]) == (issuer.url, subject)
    assert (me["access"]["by"], me["access"]["scopes"]) == ("oidc", ["jobs", "read", "write"])
    again, other = (
        (await get(url, issuer.token(sub=subject))).json,
        (await get(url, issuer.token(sub="b"))).json,
    )
    assert again["owner"] == me["owner"]
    assert other["owner"]["id"] != me["owner"]["id"]


async def test_a_subject_is_nobody_that_this_installation_named(
    url: str, issuer: Issuer, services: Services
) -> None:
    ours = await identity.ensure_owner(services.db, "carol")
    assert (await get(url, issuer.token(sub="carol"))).json["owner"]["id"] != str(ours)


async def test_keys_go_on_working_beside_tokens(url: str, services: Services) -> None:
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    key, _ = await identity.create_key(services.db, owner, name="beside")
    assert (await get(url, key)).json["owner"]["id"] == str(owner)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_every_configured_algorithm_opens(url: str, issuer: Issuer, alg: str) -> None:
    issuer.add(alg, alg)
    assert (await get(url, issuer.token(alg))).status == 200


async def test_an_expired_token_says_so(url: str, issuer: Issuer) -> None:
    now = int(time.time())
    assert (await get(url, issuer.token(exp=now - 1))).status == 200, "within the leeway"
    expired = await get(url, issuer.token(exp=now - 60))
    assert (expired.status, expired.code) == (401, "token-expired")


async def test_a_stream_ends_when_its_token_does(url: str, issuer: Issuer) -> None:
    token = issuer.token(exp=int(time.time()) - 4)
    async with Api(url, {"Authorization": f"Bearer {token}"}) as api, api.open("GET", "/events") as response:
        assert response.status == 200
        async with asyncio.timeout(30):
            assert (await response.text()).endswith('event: stream.auth\ndata: {"type":"stream.auth"}\n\n')


WRONG_CLAIMS = {
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://issuer.example"},
    "no issuer": {"iss": None},
    "no end": {"exp": None},
    "an end that is no number": {"exp": "tomorrow"},
    "an endless end": {"exp": float("inf")},
    "not yet": {"nbf": int(time.time()) + 3600},
    "from the future": {"iat": int(time.time()) + 3600},
    "no beginning": {"iat": None},
    "nobody": {"sub": None},
    "an empty somebody": {"sub": ""},
    "somebody with NUL": {"sub": "a\0b"},
    "a very long somebody": {"sub": "a" * 256},
}


@pytest.mark.parametrize("changes", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS.keys())
async def test_a_signed_token_with_wrong_claims_opens_nothing(
    url: str, issuer: Issuer, changes: dict[str, Any]
) -> None:
    got = await get(url, issuer.token(**changes))
    assert (got.status, got.code) == (401, "unauthenticated")


async def test_an_issuer_that_only_begins_alike_is_another(url: str, issuer: Issuer) -> None:
    for other in (issuer.url[:-1], issuer.url + "/", issuer.url.upper()):
        assert (await get(url, issuer.token(iss=other))).code == "unauthenticated"


async def test_no_forgery_opens_anything(url: str, issuer: Issuer) -> None:
    claims = issuer.claims()
    public = issuer.keys["first"].public_key()
    stranger = rsa.generate_private_key(65537, 2048)

    def hs256(secret: bytes) -> str:
        head = {"alg": "HS256", "kid": "first", "typ": "JWT"}
        signed = forged(head, claims).rpartition(".")[0]
        return forged(head, claims, hmac.digest(secret, signed.encode(), hashlib.sha256))

    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = issuer.token()
    attacks = {
        "none": forged({"alg": "none", "kid": "first"}, claims),
        "None": forged({"alg": "None", "kid": "first"}, claims),
        "no algorithm": forged({"kid": "first"}, claims),
        "an algorithm that is no text": forged({"alg": ["RS256"], "kid": "first"}, claims),
        "HS256 with the public key": hs256(pem),
        "HS256 with nothing": hs256(b""),
        "signed by a stranger": jwt.encode(claims, stranger, "RS256", headers={"kid": "first"}),
        "with its own key": jwt.encode(
            claims,
            stranger,
            "RS256",
            headers={"kid": "first", "jwk": issuer.published[0], "jku": "http://x/"},
        ),
        "PS256, which is not configured": jwt.encode(
            claims, issuer.keys["first"], "PS256", headers={"kid": "first"}
        ),
        "RS384, which is not configured": jwt.encode(
            claims, issuer.keys["first"], "RS384", headers={"kid": "first"}
        ),
        "no signature": good.rpartition(".")[0] + ".",
        "cut": good[:-5],
        "claims of another": ".".join(
            [good.split(".")[0], issuer.token(sub="root").split(".")[1], good.split(".")[2]]
        ),
        "a critical extension": issuer.token(head={"crit": ["x"], "x": 1}),
        "a key id that is no text": forged({"alg": "RS256", "kid": {"a": 1}}, claims, b"x" * 256),
        "no dots": "eyJhbGciOiJSUzI1NiJ9",
    }
    for name, token in attacks.items():
        got = await get(url, token)
        assert (got.status, got.code) == (401, "unauthenticated"), name
        assert token not in got.content.decode()


async def test_while_the_issuer_is_away_known_keys_work_and_new_ones_wait(url: str, issuer: Issuer) -> None:
    issuer.away = True
    got = await get(url, issuer.token())
    assert (got.status, got.code, got.json["retryable"]) == (503, "issuer-unavailable", True)
    assert got.headers["Retry-After"]
    assert issuer.url not in got.json["detail"]
    issuer.away = False
    async with asyncio.timeout(30):
        while (await get(url, issuer.token())).status != 200:  # noqa: ASYNC110 - it may ask again only in a moment
            await asyncio.sleep(0.1)
    issuer.away = True
    assert (await get(url, issuer.token())).status == 200


async def test_no_token_is_logged(url: str, issuer: Issuer) -> None:
    tokens = [issuer.token(), issuer.token(exp=1), issuer.token(aud="x"), "not.a.token"]
    with capture_logs() as lines:
        for token in tokens:
            await get(url, token)
    assert lines
    assert not [token for token in tokens if token.rpartition(".")[2] in str(lines) or token in str(lines)]


# ── keys that rotate, on a clock of the test ──────────────────────────────────────────────────────────


class World:
    """Our side of an issuer, with a clock that stands still until the test turns it."""

    def __init__(self, services: Services, issuer: Issuer, **oidc: Any) -> None:
        self.now = 1000.0
        self.issuer = issuer
        settings = Oidc(**{"issuer": issuer.url, "audience": AUDIENCE, **oidc})
        self.ours = OurIssuer(services.db, settings, lambda: self.now)

    async def outcome(self, kid: str) -> type[NeuralibError] | None:
        try:
            await self.ours.admit(self.issuer.token(kid))
        except NeuralibError as error:
            return type(error)
        return None


async def test_a_new_key_is_found_when_it_is_first_seen(services: Services, issuer: Issuer) -> None:
    world = World(services, issuer)
    assert await world.outcome("first") is None
    issuer.published.clear()
    issuer.add("second")
    world.now += keyring.GAP_S
    assert await world.outcome("second") is None
    assert await world.outcome("first") is Unauthenticated
    assert issuer.asked == 2


async def test_strangers_cannot_make_us_ask_more_often(services: Services, issuer: Issuer) -> None:
    world = World(services, issuer)
    for n in range(50):
        issuer.add(f"made-up-{n}", "EdDSA", publish=False)
    outcomes = await asyncio.gather(*(world.outcome(f"made-up-{n}") for n in range(50)))
    assert set(outcomes) == {Unauthenticated}
    assert issuer.asked == 1
    world.now += keyring.GAP_S
    await asyncio.gather(*(world.outcome(f"made-up-{n}") for n in range(50)))
    assert issuer.asked == 2


async def test_a_withdrawn_key_stops_within_the_time_that_keys_are_fresh(
    services: Services, issuer: Issuer
) -> None:
    world = World(services, issuer)
    assert await world.outcome("first") is None
    issuer.published.clear()
    issuer.add("second")
    world.now += keyring.FRESH_S + 1
    assert await world.outcome("first") is None, "what is known is good while the keys are fetched"
    async with asyncio.timeout(30):
        while await world.outcome("first") is None:  # noqa: ASYNC110 - nobody tells of a fetch
            await asyncio.sleep(0.01)
    assert await world.outcome("second") is None


async def test_keys_outlive_their_issuer_for_a_day(services: Services, issuer: Issuer) -> None:
    world = World(services, issuer)
    assert await world.outcome("first") is None
    issuer.away = True
    world.now += keyring.STALE_S - 1
    assert await world.outcome("first") is None
    world.now += keyring.RETRY_S
    assert await world.outcome("first") is IssuerUnavailable
    issuer.away = False
    world.now += keyring.RETRY_S
    assert await world.outcome("first") is None


async def test_an_issuer_that_is_away_is_not_asked_by_everybody(services: Services, issuer: Issuer) -> None:
    world = World(services, issuer, jwks_url=f"{issuer.url}/keys")
    issuer.away = True
    assert set(await asyncio.gather(*(world.outcome("first") for _ in range(20)))) == {IssuerUnavailable}
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"discovery": {"issuer": "https://issuer.example"}},
        {"discovery": {"jwks_uri": "file:///etc/passwd"}},
        {"discovery": {"jwks_uri": "http://169.254.169.254/latest"}},
        {"discovery": {"jwks_uri": None}},
        {"published": []},
        {"published": [{"kty": "oct", "kid": "first", "k": "AAAA", "alg": "HS256"}]},
        {"published": [7]},
        {"published": {"first": "not a list"}},
        {"jwks_url": "/elsewhere"},
        {"jwks_url": "/nowhere"},
    ],
)
async def test_an_issuer_that_says_nonsense_is_away(
    services: Services, issuer: Issuer, wrong: dict[str, Any]
) -> None:
    issuer.discovery = wrong.get("discovery", {})
    issuer.published = wrong.get("published", issuer.published)
    more = {"jwks_url": issuer.url + wrong["jwks_url"]} if "jwks_url" in wrong else {}
    assert await World(services, issuer, **more).outcome("first") is IssuerUnavailable


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # of the one that signs here
async def test_a_key_is_used_for_its_own_algorithm_and_never_a_short_one(
    services: Services, issuer: Issuer
) -> None:
    issuer.published[0]["alg"] = "RS512"
    assert await World(services, issuer).outcome("first") is Unauthenticated
    issuer.add("short", key=rsa.generate_private_key(65537, 1024))
    assert await World(services, issuer).outcome("short") is Unauthenticated


async def test_a_token_without_a_key_id_is_good_while_there_is_one_key(
    services: Services, issuer: Issuer
) -> None:
    token = jwt.encode(issuer.claims(), issuer.keys["first"], "RS256")
    assert await World(services, issuer).ours.admit(token)
    issuer.add("second")
    with pytest.raises(Unauthenticated):
        await World(services, issuer).ours.admit(token)


@pytest.mark.parametrize(
    ("oidc", "claims", "scopes"),
    [
        ({}, {"scope": "openid admin"}, {Scope.READ, Scope.WRITE, Scope.JOBS}),
        ({"default_scopes": ["read"]}, {}, {Scope.READ}),
        ({"scopes_claim": "scope"}, {"scope": "openid read jobs root"}, {Scope.READ, Scope.JOBS}),
        ({"scopes_claim": "permissions"}, {"permissions": ["admin", 7]}, {Scope.ADMIN}),
        ({"scopes_claim": "scope"}, {}, set()),
        ({"scopes_claim": "scope"}, {"scope": 7}, set()),
        (
            {"scopes_claim": "realm_access.roles", "scopes": {"producer": ["read", "write"]}},
            {"realm_access": {"roles": ["producer", "admin"]}},
            {Scope.READ, Scope.WRITE},
        ),
        ({"scopes_claim": "https://x/roles"}, {"https://x/roles": ["read"]}, {Scope.READ}),
    ],
)
async def test_a_claim_says_how_far_a_token_reaches(
    services: Services, issuer: Issuer, oidc: dict[str, Any], claims: dict[str, Any], scopes: set[Scope]
) -> None:
    world = World(services, issuer, **oidc)
    assert (await world.ours.admit(issuer.token(**claims))).scopes == scopes


async def test_expiry_is_its_own_answer_also_here(services: Services, issuer: Issuer) -> None:
    with pytest.raises(TokenExpired):
        await World(services, issuer).ours.admit(issuer.token(exp=1))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"auth": {"mode": "oidc"}}, r"oidc\.issuer and oidc\.audience"),
        ({"auth": {"mode": "oidc"}, "oidc": {"issuer": "https://x.example"}}, r"oidc\.audience"),
        ({"oidc": {"issuer": "http://x.example", "audience": "a"}}, "https"),
        ({"oidc": {"jwks_url": "file:///etc/passwd"}}, "https"),
        ({"oidc": {"algorithms": ["none"]}}, "algorithms"),
        ({"oidc": {"algorithms": ["HS256"]}}, "algorithms"),
        ({"oidc": {"algorithms": []}}, "algorithms"),
        ({"oidc": {"default_scopes": ["root"]}}, "default_scopes"),
    ],
)
async def test_a_configuration_that_would_not_be_safe_is_refused(
    tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(**tables)
