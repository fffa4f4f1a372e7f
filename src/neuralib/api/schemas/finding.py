"""What assets are looked for, and tags."""

import re
from datetime import UTC, datetime
from math import inf
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints, model_validator

from neuralib.db.finding import Key
from neuralib.finding import Search
from neuralib.tonality import canonical

from .assets import Tags
from .base import PageQuery, Reply, Request, Word, listed

Number = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
SortKey = Annotated[str, StringConstraints(pattern=r"^-?(created_at|name|duration|bpm|rating)$")]


def _written_out(moment: Any) -> Any:
    """Pydantic also takes seconds since 1970, which the document does not allow."""
    if isinstance(moment, str) and not re.match(r"\d{4}-", moment):
        raise ValueError("must be a moment as in RFC 3339, such as 2026-01-31T12:00:00Z")
    return moment


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a year that there was") from error


def _unique(words: list[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _each_once(keys: list[str]) -> list[str]:
    if len({key.removeprefix("-") for key in keys}) < len(keys):
        raise ValueError("may name each key once")
    return keys


Made = Literal["stems", "lyrics", "notes"]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(_written_out)]


class FindQuery(PageQuery):
    """Every filter that is given must hold."""

    q: Annotated[
        Annotated[str, StringConstraints(max_length=200)] | None,
        Field(
            description='Words of names, tags, notes, embedded metadata and lyrics: all of them, `"a phrase"`, `-without`; '
            "the last may be unfinished. Lyrics also find the track and the stem that they were heard in."
        ),
    ] = None
    kind: Annotated[
        Literal["audio", "midi", "transcript", "analysis"] | None, Field(description="Only these.")
    ] = None
    role: Annotated[Word | None, Field(description="Such as `track`, `stem`, `sample`.")] = None
    stem: Annotated[Word | None, Field(description="Such as `vocals`.")] = None
    tag: Annotated[
        Annotated[Tags, BeforeValidator(listed)] | None, Field(description="All of these tags.")
    ] = None
    bpm_min: Number | None = None
    bpm_max: Number | None = None
    bpm_octaves: Annotated[
        bool, Field(description="The tempo may also be half or twice one between `bpm_min` and `bpm_max`.")
    ] = False
    key: Annotated[
        Annotated[
            list[Annotated[str, StringConstraints(max_length=20), AfterValidator(canonical)]],
            Field(min_length=1, max_length=24),
            BeforeValidator(listed),
        ]
        | None,
        Field(description="`A minor`, `Am` or `8A`; one of these, separated by commas."),
    ] = None
    duration_min: Annotated[Number | None, Field(description="Seconds.")] = None
    duration_max: Annotated[Number | None, Field(description="Seconds.")] = None
    created_after: Annotated[Moment | None, Field(description="From then on.")] = None
    created_before: Annotated[Moment | None, Field(description="Until then.")] = None
    rating_min: Annotated[Annotated[int, Field(ge=0, le=5)] | None, Field(description="Stars.")] = None
    favorite: bool | None = None
    has: Annotated[
        Annotated[list[Made], Field(min_length=1), AfterValidator(_unique), BeforeValidator(listed)] | None,
        Field(description="Of which all of these were made: `stems`, `lyrics`, `notes`."),
    ] = None
    include: Annotated[
        Annotated[list[Literal["made"]], BeforeValidator(listed)],
        Field(description="`made`: tell what was made from each."),
    ] = []
    sort: Annotated[
        Annotated[
            list[SortKey],
            Field(min_length=1, max_length=3),
            AfterValidator(_each_once),
            BeforeValidator(listed),
        ]
        | None,
        Field(
            description="`created_at`, `name`, `duration`, `bpm` or `rating`, up to three, `-` for descending; what has none "
            "comes last. Without it: the best match first when there is `q`, else the newest."
        ),
    ] = None
    count: Annotated[bool, Field(description="Tell in `total` how many there are in all.")] = False

    def search(self, library: UUID | None = None, view: str | UUID = "tree") -> Search:
        having: dict[str, Any] = {name: getattr(self, name) for name in _FILTERS}
        having |= {"tags": self.tag, "keys": self.key}
        having |= {f"has_{word}": True for word in self.has or ()}
        if self.bpm_octaves and (self.bpm_min is not None or self.bpm_max is not None):
            low, high = having.pop("bpm_min"), having.pop("bpm_max")
            having["tempo"] = [low or 0.0, inf if high is None else high]
        keys = tuple(Key(re.sub("^-", "", name), name.startswith("-")) for name in self.sort or ())
        return Search(self.q, having, library, view, keys)


_FILTERS = (
    "kind",
    "role",
    "stem",
    "bpm_min",
    "bpm_max",
    "duration_min",
    "duration_max",
    "created_after",
    "created_before",
    "rating_min",
    "favorite",
)


class AssetsQuery(FindQuery):
    """Within one library."""

    parent_id: Annotated[
        UUID | Literal["null"] | None,
        Field(description="The children of this asset; `null`, the default: the roots."),
    ] = None
    tree: Annotated[bool, Field(description="Everything in the library, at any depth.")] = False

    @model_validator(mode="after")
    def _one_view(self) -> Self:
        if self.tree and self.parent_id is not None:
            raise ValueError("tree shows everything: leave parent_id out")
        return self

    @property
    def view(self) -> str | UUID:
        if self.tree:
            return "tree"
        return self.parent_id if isinstance(self.parent_id, UUID) else "roots"


class TagsQuery(Request):
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class SuggestQuery(Request):
    q: Annotated[str, Field(max_length=64, description="How the tag, or a word of it, begins.")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 10


class TagCount(Reply):
    tag: str
    assets: int


class TagList(Reply):
    items: list[TagCount]
    next_cursor: None = None

    @classmethod
    def of(cls, tags: list[tuple[str, int]]) -> dict[str, Any]:
        return cls(items=[TagCount(tag=tag, assets=count) for tag, count in tags]).model_dump(mode="json")
