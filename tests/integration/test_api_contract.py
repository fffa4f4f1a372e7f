"""openapi.json is kept: Schemathesis reads it from a running server and sends what it allows, and what it does not.

Every operation of the document is called, whoever added it, and each must be seen to do its work, or to refuse it for what
is not there yet (409 or 422: no model runs here, and no part of an upload came). Requests that fit the schema carry ids of
things that exist: those that the walk over two owners makes (test_api_owners.py), where a new kind of id is named once for both.

What Schemathesis could check and does not, and why:

- positive_data_acceptance: a schema cannot say which models are installed, which cursors we made or whether a version is
  still the newest, so requests that fit it may be refused. Each refusal must be a documented one (`is_documented`).
- ignored_auth: the document allows no credentials at all, for auth.mode "none", so there is nothing to hold it to; the 401s
  of every route are in test_api_owners.py, and so is what object_level_authorization looks for.
- use_after_free, ensure_resource_availability: they compare calls that follow from each other; these do not.
- allow_header_conformance, and unsupported_method of /jobs/batch alone: a path that can also be read as another one
  (/jobs/{job}) takes the methods of both. Everywhere else other methods must be answered 405.
- not_a_server_error of /readyz alone: no worker runs here, and 503 is how it says so.

A stream is read to the end of its first block, for it does not end by itself.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from multidict import CIMultiDict
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import unsupported_method
from schemathesis.transport.serialization import Binary

from api_client import Api, Got, check, find_route
from integration.test_api_owners import KINDS, Owner, wav
from neuralib import identity
from neuralib.api import listening
from neuralib.api.auth import EVERYTHING
from neuralib.api.openapi import describe
from neuralib.api.routes import ROUTES
from neuralib.config import Settings
from neuralib.services import open_services
from servers import kept_open

SEED = 20261125
KEY = "contract"


def described(**more: Any) -> Any:
    """The document as Schemathesis reads it."""
    off = {"enabled": False}
    common = {
        "seed": SEED,
        "warnings": False,
        "checks": {"positive_data_acceptance": off, "ignored_auth": off, "allow_header_conformance": off},
    }
    config = schemathesis.Config.from_dict({**common, **more})
    return schemathesis.openapi.from_dict(describe(ROUTES), config=config)


THOROUGH = described(generation={"max-examples": 10})
QUICK = described(generation={"max-examples": 5}, phases={"coverage": {"enabled": False}})
TRIES = 60
WORDS = {"model": "echo", "operation": "echo", "params": {}, "slug": "stems", "overrides": {}}
"""What a schema cannot know: what is installed, and what that takes."""
REQUEST_S = 30.0
WAIT_S = 0.05


class FirstBlock:
    """The body of a stream up to the first empty line."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._read = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read1(self, amount: int, **options: Any) -> bytes:
        if b"\n\n" in self._read:
            return b""
        chunk = self._raw.read1(amount, **options)
        self._read += chunk
        return chunk


class Session(requests.Session):
    def request(self, *words: Any, **options: Any) -> requests.Response:
        response = super().request(*words, **options)
        if response.headers.get("Content-Type") == "text/event-stream":
            response.raw = FirstBlock(response.raw)
        return response


@dataclass
class Site:
    """A server and one owner there, who has one of everything."""

    url: str
    headers: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    archive: bytes = b""
    settled_for: str = ""
    reached: set[str] = field(default_factory=set)
    """The operations that were seen to work, or to say what must be there first: no model ran here."""
    session: Session = field(default_factory=Session)

    def send(self, case: schemathesis.Case) -> schemathesis.Response:
        """The case with what exists where it fits the schema."""
        deletes = case.operation.method == "delete"  # what a job waits for cannot go
        if case.operation.label != self.settled_for:
            self.settle(idle=deletes)
            self.settled_for = case.operation.label
        self._fill(case)
        got = case.call(base_url=self.url, session=self.session, headers=self.headers, timeout=REQUEST_S)
        if case.method == case.operation.method.upper() and is_from_its_handler(case, got):
            self.reached.add(case.operation.label)
        if deletes and got.status_code < 300:
            self.settle(idle=True)
        return got

    def settle(self, *, idle: bool) -> None:
        asyncio.run(self._settle(idle))

    async def _settle(self, idle: bool) -> None:
        async with Api(self.url, self.headers) as api:
            for key in (await api.get("/keys?limit=200")).json["items"]:
                if key["name"] != KEY:  # an owner may have a hundred
                    await api.call("DELETE", f"/keys/{key['id']}")
            owner = Owner(uuid.uuid4(), api)
            await owner.settle()
            if idle:
                await api.post(f"/jobs/{owner.ids['job']}/cancel")
                await api.post(f"/runs/{owner.ids['run']}/cancel")
            self.ids = owner.ids
            self.archive = (await api.get(f"/assets/{self.ids['asset']}/export.zip")).content

    def _fill(self, case: schemathesis.Case) -> None:
        meta = case.meta
        assert meta is not None
        for part, location in (
            (case.path_parameters, ParameterLocation.PATH),
            (case.query, ParameterLocation.QUERY),
            (case.body, ParameterLocation.BODY),
        ):
            if isinstance(part, dict) and not meta.is_negative_at(location):
                part.update(self._filled(part))  # in place: an edit, not another case

    def _filled(self, value: Any, name: str = "") -> Any:
        match value:
            case dict() if name not in WORDS:
                return {key: self._filled(each, key) for key, each in value.items()}
            case list() if name == "file":
                return [Binary(wav()) for _ in value]
            case list():
                return [self._filled(each, name) for each in value]
        return self._filling(value, name)

    def _filling(self, value: Any, name: str) -> Any:
        match value:
            case str() | float() | int() if name.startswith("wait_"):
                return brief(value)
            case str() if name in KINDS and value != "null":
                return self.ids[KINDS[name]]
            case _ if name in WORDS:
                return WORDS[name]
            case _ if name == "file":  # where one is asked for
                return Binary(self.archive)
        return value


def is_from_its_handler(case: schemathesis.Case, got: schemathesis.Response) -> bool:
    """Whether it was done, or refused for what is not there yet; not for how the request was written."""
    if got.status_code < 400 or got.status_code == 409:
        return True
    route = find_route(case.method, case.operation.path)
    assert route is not None
    read_before = (
        route.body is not None and got.status_code == 422 and got.json()["code"] == "validation-failed"
    )
    return got.status_code == 422 and not read_before


def brief(wait: str | float) -> Any:
    """The same, but not for a minute; what is no wait at all stays as wrong as it is."""
    with suppress(ValueError):
        if 0 < float(wait) <= 60:
            return type(wait)(WAIT_S)
    return wait


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Site]:
    async with open_services(settings) as services:
        owner = await identity.ensure_owner(services.db, f"test-{uuid.uuid4()}")
        key, _ = await identity.create_key(services.db, owner, name=KEY, scopes=EVERYTHING)
        async with listening(services, owner, "127.0.0.1", 0) as url:
            with_keys = settings.auth.mode == "keys"
            yield Site(url, {"Authorization": f"Bearer {key}"} if with_keys else {})


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    many = {"requests_per_s": 0, "jobs_per_owner": 100_000, "uploads_per_owner": 100_000}
    return settings.with_tables(limits=many)


@pytest.fixture(scope="module")
def site(settings: Settings) -> Iterator[Site]:
    """Without credentials."""
    with kept_open(running(settings)) as site:
        yield site


@pytest.fixture(scope="module")
def keyed_site(settings: Settings) -> Iterator[Site]:
    """For whom has a key."""
    with kept_open(running(settings.with_tables(auth={"mode": "keys"}))) as site:
        yield site


def is_documented(_: Any, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """What every other test of the API holds a reply to, too: its code, its headers, its body."""
    headers = CIMultiDict((name, each) for name, values in response.headers.items() for each in values)
    check(case.method, case.operation.path, Got(response.status_code, headers, response.content))


def keep_to_the_document(case: schemathesis.Case, site: Site) -> None:
    off = [not_a_server_error] if case.operation.path == "/readyz" else []
    off += [unsupported_method] if is_also_another(case.operation.path) else []
    case.validate_response(site.send(case), additional_checks=[is_documented], excluded_checks=off)


def is_also_another(path: str) -> bool:
    """Whether the path can be read as another one, whose methods it then takes, too: /jobs/batch as /jobs/{job}."""
    others = {route.path for route in ROUTES} - {path}
    return any(re.fullmatch(re.sub(r"{\w+}", "[^/{]+", other), path) for other in others)


@THOROUGH.parametrize()
def test_every_operation_keeps_to_the_document(case: schemathesis.Case, keyed_site: Site) -> None:
    keep_to_the_document(case, keyed_site)


@QUICK.parametrize()
def test_every_operation_keeps_to_the_document_without_credentials(
    case: schemathesis.Case, site: Site
) -> None:
    keep_to_the_document(case, site)


def test_every_operation_is_reached_by_something_that_fits_its_schema(keyed_site: Site) -> None:
    operations = [each.ok() for each in THOROUGH.get_all_operations()]
    for operation in operations:
        if operation.label not in keyed_site.reached:
            attempt(operation, keyed_site)
    assert {operation.label for operation in operations} - keyed_site.reached == {"GET /readyz"}


def attempt(operation: schemathesis.APIOperation, site: Site) -> None:
    """Until it is reached, or for TRIES times."""

    @hypothesis.seed(SEED)
    @hypothesis.settings(max_examples=TRIES, database=None, deadline=None, phases=[hypothesis.Phase.generate])
    @hypothesis.given(operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
    def call(case: schemathesis.Case) -> None:
        if operation.label not in site.reached:
            site.send(case)

    call()
