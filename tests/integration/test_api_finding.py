"""Lists of assets: words, filters, order, pages that stay right, and queries that are none."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import shelf
from api_client import Api
from neuralib import finding, identity
from neuralib.db.finding import Key, Place
from neuralib.finding import Search
from neuralib.services import Services

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Shelf:
    """A library whose assets are known by their names."""

    def __init__(self, services: Services, owner: UUID, api: Api, library: str) -> None:
        self.services, self.owner, self.api, self.library = services, owner, api, library

    async def put(self, name: str, **new: Any) -> UUID:
        audio = {"audio": shelf.audio(new.pop("duration"))} if "duration" in new else {}
        return await shelf.put(self.services, self.owner, UUID(self.library), name=name, **audio, **new)

    async def names(self, **params: Any) -> list[str]:
        got = await self.api.get("/assets", params=params)
        assert got.status == 200, got.content
        return [item["name"] for item in got.json["items"]]


@pytest_asyncio.fixture(loop_scope="module")
async def here(services: Services, owner: UUID, api: Api) -> Shelf:
    return Shelf(services, owner, api, (await api.library())["id"])


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_word_is_found_wherever_it_stands(here: Shelf) -> None:
    await here.put("Midnight Déjà-vu.wav")
    await here.put("b", tags=["midnight"])
    await here.put("c", notes="cut at midnight, twice")
    await here.put("d", metadata={"artist": "The Midnight", "year": 1999})
    await here.put("e", metadata={"midnight": "no value of it"})
    assert await here.names(q="midnight", sort="name") == ["b", "c", "d", "Midnight Déjà-vu.wav"]
    assert (await here.names(q="MIDNIGHT"))[-1] == "c"  # notes weigh least
    for typed in ("deja", "DÉJÀ vu", "deja-vu", '"deja vu"', "wav midnight"):
        assert await here.names(q=typed) == ["Midnight Déjà-vu.wav"], typed
    assert len(await here.names(q="midn")) == 4
    assert await here.names(q="midnight v") == ["Midnight Déjà-vu.wav"]
    assert await here.names(q='"vu deja"') == []
    assert await here.names(q="midnight -twice -artist -the", sort="name") == ["b", "Midnight Déjà-vu.wav"]
    assert await here.names(q="1999") == ["d"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [("Straße", "strasse"), ("Ночь", "НОЧЬ"), ("שיר לילה", "לילה"), ("ＦＵＬＬ", "full"), ("Bjørk", "bjork")],
)
async def test_words_are_compared_without_case_and_accents(here: Shelf, name: str, typed: str) -> None:
    await here.put(name)
    assert await here.names(q=typed) == [name]


async def test_what_is_sung_finds_the_words_the_stem_and_the_track(here: Shelf) -> None:
    track = await here.put("Song")
    stem = await here.put("Song [vocals]", role="stem", stem="vocals", parent_id=track)
    await here.put("Song [drums]", role="stem", stem="drums", parent_id=track)
    words = {"kind": "transcript", "role": "transcript", "parent_id": stem}
    lyrics = await here.put("Song [lyrics].txt", search_text="Hello darkness,\nmy old friend", **words)
    await here.put("Other")
    assert await here.names(q="darkness", sort="name") == ["Song", "Song [lyrics].txt", "Song [vocals]"]
    assert await here.names(q="old friend", kind="audio", role="track") == ["Song"]
    assert await here.names(q="lyrics") == ["Song [lyrics].txt"]  # a name is of one asset alone
    listed = await here.api.get(f"/libraries/{here.library}/assets", params={"q": "darkness"})
    assert [item["name"] for item in listed.json["items"]] == ["Song"]
    assert (await here.api.call("DELETE", f"/assets/{lyrics}")).status == 204
    assert await here.names(q="darkness") == []


@pytest.mark.parametrize(
    "typed", ["", " ", "'", '"', "-", "!&|:*()<->", "\\", "a:*", "-nothing", "x" * 200, "%", "👍", "\u202e"]
)
async def test_no_text_is_a_query_that_breaks(here: Shelf, typed: str) -> None:
    await here.put("nobody looks for this")
    assert len(await here.names(q=typed)) <= 1


# ── filters and order ─────────────────────────────────────────────────────────────────────────────────


async def test_every_filter_that_is_given_must_hold(here: Shelf) -> None:
    heard = {"bpm": 120.0, "musical_key": "A minor"}
    await here.put("a", tags=["x", "y"], rating=3, duration=10.0, analysed=heard)
    await here.put("b", tags=["x"], rating=5, favorite=True, duration=20.0, analysed={**heard, "bpm": 90.5})
    await here.put("c", kind="midi", role="midi")
    await here.put("d", role="stem", stem="bass", duration=30.0)
    asked = {
        "tag=x": "ab",
        "tag=X,y": "a",
        "rating_min=4": "b",
        "favorite=true": "b",
        "favorite=false": "acd",
        "kind=midi": "c",
        "role=stem": "d",
        "stem=bass": "d",
        "bpm_min=90.5": "ab",
        "bpm_min=91&bpm_max=120": "a",
        "key=Am": "ab",
        "key=8A&bpm_max=100": "b",
        "key=A": "",
        "key=9A,7A": "",
        "key=9A,Am,8B": "ab",
        "bpm_min=58&bpm_max=62": "",
        "bpm_min=58&bpm_max=62&bpm_octaves=true": "a",
        "bpm_min=180&bpm_octaves=true": "ab",
        "bpm_max=45&bpm_octaves=true": "",
        "bpm_max=46&bpm_octaves=true": "b",
        "bpm_octaves=true": "abcd",
        "duration_min=20": "bd",
        "duration_max=10": "a",
        "created_after=2020-01-01T00:00:00Z": "abcd",
        "created_before=2020-01-01T00:00:00Z": "",
        "tag=x&q=b": "b",
    }
    for query, names in asked.items():
        got = await here.api.get(f"/assets?{query}&sort=name&count=true")
        assert "".join(item["name"] for item in got.json["items"]) == names, query
        assert got.json["total"] == len(names), query


async def test_what_was_made_from_a_track_is_told_and_asked_for(here: Shelf) -> None:
    track = await here.put("a")
    stem = await here.put("a [vocals]", role="stem", stem="vocals", parent_id=track)
    await here.put("a [drums]", role="stem", stem="drums", parent_id=track)
    await here.put("lyrics.json", kind="transcript", role="transcript", parent_id=stem)
    other = await here.put("b")
    notes = await here.put("b.mid", kind="midi", role="midi", parent_id=other)
    await here.put("c")
    asked = {"stems": "a", "lyrics": "a", "notes": "b", "stems,lyrics": "a", "stems,notes": ""}
    for has, names in asked.items():
        got = await here.api.get(f"/libraries/{here.library}/assets?has={has}&include=made&sort=name")
        assert "".join(item["name"] for item in got.json["items"]) == names, has
    listed = await here.api.get(f"/libraries/{here.library}/assets?include=made&sort=name")
    assert [item["made"] for item in listed.json["items"]] == [["drums", "lyrics", "vocals"], ["notes"], []]
    assert (await here.api.call("DELETE", f"/assets/{notes}")).status == 204
    assert (await here.api.get(f"/libraries/{here.library}/assets?has=notes")).json["items"] == []
    assert (await here.api.get("/assets?limit=1")).json["items"][0]["made"] is None


async def test_what_has_none_comes_last_both_ways(here: Shelf) -> None:
    await here.put("none")
    await here.put("low", rating=1, duration=9.0)
    await here.put("high", rating=5, duration=1.0)
    assert await here.names(sort="rating") == ["low", "high", "none"]
    assert await here.names(sort="-rating") == ["high", "low", "none"]
    assert await here.names(sort="duration,-name") == ["high", "low", "none"]
    assert await here.names() == ["high", "low", "none"]
    assert await here.names(sort="created_at") == ["none", "low", "high"]


@pytest.mark.parametrize(
    "query",
    [
        "qq=x",
        "sort=size",
        "sort=name,-name",
        "sort=",
        "sort=relevance",
        "key=X",
        "key=13A",
        "bpm_min=nan",
        "bpm_min=inf",
        "bpm_max=-1",
        "rating_min=6",
        "favorite=perhaps",
        "created_after=yesterday",
        "created_after=0.5",
        "created_after=2020-01-01T00:00:00",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "tag=,",
        "kind=video",
        "role=A%20B",
        "count=x",
        "q=" + "x" * 201,
        "q=%00",
    ],
)
async def test_a_parameter_that_is_unknown_or_wrong_is_named(api: Api, query: str) -> None:
    got = await api.get(f"/assets?{query}")
    assert (got.status, got.code) == (400, "invalid-parameter")
    assert got.json["errors"][0]["pointer"].startswith(f"/query/{query.partition('=')[0]}")


async def test_tags_are_counted_and_suggested(here: Shelf) -> None:
    for tags in (["drum loop", "dusty"], ["dusty"], ["dub"]):
        await here.put("x", tags=tags)
    assert (await here.api.get("/tags")).json["items"] == [
        {"tag": "dusty", "assets": 2},
        {"tag": "drum loop", "assets": 1},
        {"tag": "dub", "assets": 1},
    ]
    for typed, found in {
        "Du": ["dusty", "dub"],
        "lo": ["drum loop"],
        "%": [],
        "": ["dusty", "drum loop", "dub"],
    }.items():
        got = await here.api.get("/tags/suggest", params={"q": typed})
        assert [item["tag"] for item in got.json["items"]] == found


# ── cursors and pages ─────────────────────────────────────────────────────────────────────────────────


async def test_a_cursor_that_is_not_ours_or_of_another_order_is_refused(
    here: Shelf, services: Services
) -> None:
    for name in "abc":
        await here.put(name)
    first = (await here.api.get("/assets?limit=1&sort=name")).json["next_cursor"]
    got = await here.api.get("/assets", params={"limit": 1, "sort": "name", "cursor": first})
    assert [item["name"] for item in got.json["items"]] == ["b"]
    raw = bytearray(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    tampered = [raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :] for n in range(len(raw))]
    for cursor in [base64.urlsafe_b64encode(each).decode().rstrip("=") for each in tampered] + [
        first[:-1],
        first + "A",
        first + "=",
        "",
        "x",
        "ä",
        "A" * 5000,
    ]:
        got = await here.api.get("/assets", params={"limit": 1, "sort": "name", "cursor": cursor})
        assert (got.status, got.code) == (400, "invalid-cursor"), cursor
    for other in ({"sort": "-name"}, {"sort": "created_at"}, {}, {"q": "a"}):
        assert (await here.api.get("/assets", params={"cursor": first, **other})).code == "invalid-cursor"
    stranger = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    from neuralib.api.cursors import encode_place

    theirs = encode_place(stranger, [Key("name")], None, Place(("a",), uuid4()))
    assert (await here.api.get("/assets", params={"sort": "name", "cursor": theirs})).code == "invalid-cursor"


@pytest.mark.parametrize(
    ("order", "value"),
    [
        ("name", 7),
        ("name", None),
        ("name", "a\0"),
        ("created_at", "2020"),
        ("created_at", "0001-01-01T00:00:00+14:00"),
        ("rating", 1e300),
        ("rating", True),
        ("bpm", 1e300),
        ("bpm", "x"),
        ("duration", []),
        ("duration", {}),
    ],
)
async def test_a_cursor_with_a_good_seal_is_read_strictly_too(
    api: Api, owner: UUID, order: str, value: Any
) -> None:
    from neuralib.api.cursors import _seal

    payload = json.dumps([[value], uuid4().hex]).encode()
    sealed = (
        base64.urlsafe_b64encode(_seal(owner, [Key(order)], None, payload) + payload).decode().rstrip("=")
    )
    got = await api.get("/assets", params={"sort": order, "cursor": sealed})
    assert (got.status, got.code) == (400, "invalid-cursor")


SORTS = st.lists(
    st.builds(Key, st.sampled_from(["created_at", "name", "duration", "bpm", "rating"]), st.booleans()),
    max_size=3,
    unique_by=lambda key: key.name,
)
ROW = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "B", "b", "ä", "ab c"]),
        "rating": st.none() | st.integers(0, 2),
        "duration": st.none() | st.sampled_from([0.1, 0.30000000000000004, 7.0]),
        "bpm": st.none() | st.sampled_from([90.1, 120.0]),
    }
)
CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from(["add", "change", "delete"]), st.integers(0, 99), ROW), max_size=3),
    max_size=8,
)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(ROW, min_size=1, max_size=12),
    changes=CHANGES,
    order=SORTS,
    limit=st.integers(1, 4),
    words=st.booleans(),
)
async def test_pages_show_every_row_that_stays_as_it_is_once(
    services: Services, before: Any, changes: Any, order: Any, limit: int, words: bool
) -> None:
    """Whatever is added, changed and deleted between the pages, in any order, with or without words."""
    owner = await identity.ensure_owner(services.db, f"test-{uuid4()}")
    async with services.db.transaction() as tx:
        library = await tx.raw.fetchval(
            "insert into libraries (id, owner_id, name) values ($1, $2, 'x') returning id", uuid4(), owner
        )
    there = [await put(services, owner, library, row) for row in before]
    steady, seen = set(there), []
    search = Search("here" if words else None, keys=order)
    pending, after = list(changes), None
    for _ in range(100):
        found = await finding.find(services, owner, search, after=after, limit=limit)
        seen += [asset.id for asset in found.assets]
        if (after := found.following) is None:
            break
        for what, which, row in pending.pop(0) if pending else ():
            target = there[which % len(there)]
            if what == "add":
                there.append(await put(services, owner, library, row))
                continue
            steady.discard(target)
            async with services.db.transaction() as tx:
                if what == "delete":
                    await tx.raw.execute("delete from assets where id = $1", target)
                else:
                    await tx.raw.execute(
                        "update assets set name = $2, rating = $3, bpm = $4 where id = $1",
                        target,
                        row["name"] + " here",
                        row["rating"],
                        row["bpm"],
                    )
    assert after is None
    once = [id_ for id_ in seen if id_ in steady]
    assert sorted(once) == sorted(steady)


async def put(services: Services, owner: UUID, library: UUID, row: dict[str, Any]) -> UUID:
    audio = shelf.audio(row["duration"]) if row["duration"] is not None else None
    return await shelf.put(
        services,
        owner,
        library,
        name=row["name"] + " here",
        rating=row["rating"],
        audio=audio,
        analysed={"bpm": row["bpm"]},
    )


async def test_no_results_are_an_empty_page(api: Api) -> None:
    got = await api.get("/assets?q=nothing&count=true")
    assert got.json == {"items": [], "next_cursor": None, "total": 0}
    missing = await api.get(f"/libraries/{uuid4()}/assets")
    assert (missing.status, missing.code) == (404, "not-found")
