"""manifest.json: what is in an archive, how it was made, and all that a restore needs.

The models below are its schema, for what is written and for what is read back; docs/exports.md explains them. Members
that a reader does not know are passed over, so a later version may add some; what changes their meaning raises VERSION.
"""

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from neuralib.entities import AssetKind, RegionKind
from neuralib.errors import InvalidArchive

VERSION = 1
FILE = "manifest.json"
MAX_ASSETS = 20_000
"""Of one archive."""

MAX_REGIONS = 1000
"""Of one asset."""
MAX_DOCUMENT = 4 << 20
"""Characters of a transcript that somebody edited."""
MAX_METADATA = 16384
MAX_BYTES = 64 << 20
"""Of the document that is read back."""


def _storable(facts: Any) -> Any:
    """What the database can keep: numbers are finite, text has no NUL."""
    match facts:
        case str() if "\0" in facts:
            raise ValueError("text may not contain NUL")
        case float() if not math.isfinite(facts):
            raise ValueError("numbers must be finite")
        case dict():
            for key, value in facts.items():
                _storable(key)
                _storable(value)
        case list():
            for value in facts:
                _storable(value)
    return facts


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, StringConstraints(max_length=200), AfterValidator(_storable)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_storable)]
Facts = Annotated[dict[str, Any], AfterValidator(_storable)]


def _as_kept(tag: str) -> str:
    if tag != " ".join(tag.lower().split()) or "," in tag or not tag.isprintable():
        raise ValueError("tags are lower-case and printable, without commas")
    return tag


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata)) > MAX_METADATA:
        raise ValueError(f"may have {MAX_METADATA} bytes as JSON")
    return metadata


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class LibraryPart(_Part):
    """The library that the assets came from."""

    name: Short
    description: Annotated[str, StringConstraints(max_length=4000)] = ""
    color: Color | None = None


class RegionPart(_Part):
    """What somebody marked in a recording: a region or loop, with an end, or a marker or cue, without."""

    kind: RegionKind
    name: Short | None = None
    start_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    end_s: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    color: Color | None = None
    tags: Annotated[list[Tag], Field(max_length=50)] = []

    @model_validator(mode="after")
    def _ends_when_it_must(self) -> Self:
        if self.kind.is_span != (self.end_s is not None):
            raise ValueError("regions and loops have an end, markers and cues have none")
        return self


class RevisionPart(_Part):
    """What somebody made of a transcript: the newest revision. `file` is a rendering of it in the archive, for people; a
    restore reads `document`.
    """

    number: Annotated[int, Field(ge=2)]
    created_at: AwareDatetime
    file: Annotated[str, StringConstraints(max_length=1000)] | None = None
    document: Annotated[str, StringConstraints(max_length=MAX_DOCUMENT)]


class AssetPart(_Part):
    """One asset. `file` is its place in the archive; None: its bytes were left out."""

    id: UUID
    parent_id: UUID | None = None
    kind: AssetKind
    role: Word
    stem: Word | None = None
    name: Short
    file: Annotated[str, StringConstraints(max_length=1000)] | None
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]
    media_type: Short
    audio: Facts | None = None
    facts: Facts = Field(default_factory=dict)
    derivation: UUID | None = None
    regions: Annotated[list[RegionPart], Field(max_length=MAX_REGIONS)] = []
    revision: RevisionPart | None = None
    tags: Annotated[list[Annotated[Tag, AfterValidator(_as_kept)]], Field(max_length=64)] = []
    rating: Annotated[int | None, Field(ge=0, le=5)] = None
    favorite: bool = False
    color: Color | None = None
    notes: Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_storable)] = ""
    metadata: Annotated[Facts, AfterValidator(_small)] = Field(default_factory=dict)
    created_at: AwareDatetime


class InputPart(_Part):
    """What a derivation read. The asset may be gone by now, or lie outside the archive."""

    asset_id: UUID | None
    name: Short | None = None
    sha256: Sha256 | None = None


class DerivationPart(_Part):
    """One run of a model. Executor with version, weights with digest and licence, device, precision and timings are in
    `result`; the recipe is the digest of all that determines the outcome.
    """

    id: UUID
    operation: Short
    model: Short
    checkpoint: Short | None = None
    params: Facts
    output: Facts
    recipe: Short | None = None
    inputs: Annotated[list[InputPart], Field(max_length=100)]
    result: Facts
    metadata: Facts = Field(default_factory=dict)
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _names_inputs_apart(self) -> Self:
        names = [each.name for each in self.inputs if each.name is not None]
        if len(set(names)) != len(names):
            raise ValueError("two inputs have one name")
        return self


class Manifest(_Part):
    """The whole document."""

    format: Literal["neuralib-archive"] = "neuralib-archive"
    version: Annotated[int, Field(ge=1)] = VERSION
    neuralib: Short
    exported_at: AwareDatetime
    library: LibraryPart | None = None
    assets: Annotated[list[AssetPart], Field(max_length=MAX_ASSETS)]
    derivations: Annotated[list[DerivationPart], Field(max_length=MAX_ASSETS)]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for ids in ([a.id for a in self.assets], [d.id for d in self.derivations]):
            if len(set(ids)) != len(ids):
                raise ValueError("an id stands in it twice")
        return self

    def document(self) -> bytes:
        """As JSON text."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def read(raw: bytes) -> Manifest:
    """Raises InvalidArchive, in words."""
    try:
        found = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"])
        raise InvalidArchive(f"{FILE}: {where}: {first['msg']}") from error
    if found.version > VERSION:
        raise InvalidArchive(f"{FILE} is of version {found.version}; this NeuraLib reads {VERSION}")
    return found


def licenses(derivations: Sequence[DerivationPart]) -> bytes:
    """LICENSES.txt: under which terms the weights stand that made what is in the archive."""
    rows = {_license(d) for d in derivations}
    lines = [
        "What is in this archive was made with these weights, under these licences.",
        "Whether what a model made may be used commercially can depend on them.",
        "",
        *sorted(rows),
    ]
    return "\n".join(lines if rows else ["Nothing in this archive was made by a model."]).encode() + b"\n"


def _license(derivation: DerivationPart) -> str:
    model, weights = derivation.model, derivation.result.get("weights")
    if not isinstance(weights, dict):
        return f"{model}: no weights"
    commercial = {True: "yes", False: "no"}.get(weights.get("commercial_use"), "unknown")  # type: ignore[arg-type]
    return (
        f"{model}/{weights.get('name')}: {weights.get('license', 'unknown')}; commercial use: {commercial}; "
        f"sha256 {weights.get('sha256')}; from {weights.get('source')}"
    )
