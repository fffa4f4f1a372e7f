"""What a job may ask of the slicer, and what of it a schema alone cannot refuse."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from neuralib.audio import AudioInfo
from neuralib.audio.spans import frames_between
from neuralib.errors import FieldError, ValidationFailed
from neuralib.executors import Known, Params

from .names import check_template

MAX_SLICES = 1000
MAX_BEATS = 20_000
Method = Literal["regions", "onsets", "grid", "equal", "silence"]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Region(Params):
    """A span of the recording, in seconds."""

    start_s: Seconds
    end_s: Seconds
    name: Annotated[str | None, Field(max_length=200)] = None


class SliceParams(Params):
    """What a job may ask."""

    method: Annotated[
        Method,
        Field(
            description="regions: what `regions` or `region_ids` name, or else all regions and loops of the asset. onsets: "
            "from each attack to the next. grid: from beat to beat. equal: `parts` of one length. silence: what "
            "sounds between silences."
        ),
    ] = "onsets"
    regions: Annotated[tuple[Region, ...], Field(max_length=MAX_SLICES)] = ()
    region_ids: Annotated[
        tuple[UUID, ...],
        Field(
            max_length=MAX_SLICES,
            description="Regions of the asset. The job keeps their times as they are when it is accepted, in `regions`.",
        ),
    ] = ()
    beats: Annotated[
        tuple[Seconds, ...],
        Field(
            max_length=MAX_BEATS,
            description="Of the grid, rising; default: those of the analysis that is the second input.",
        ),
    ] = ()
    bpm: Annotated[float | None, Field(ge=20, le=400, description="A steady grid instead of `beats`.")] = None
    offset_s: Annotated[Seconds, Field(description="Where a beat of the steady grid lies.")] = 0.0
    beats_per_slice: Annotated[float, Field(ge=1 / 16, le=64)] = 1.0
    parts: Annotated[int | None, Field(ge=1, le=MAX_SLICES, description="Of the method equal.")] = None
    sensitivity: Annotated[
        float, Field(ge=0, le=1, description="Of onsets: 0 the clearest only, 1 whatever might be one.")
    ] = 0.5
    silence_db: Annotated[
        float, Field(ge=-120, le=0, description="dBFS below which it is silent, for the method silence.")
    ] = -50.0
    min_silence_ms: Annotated[
        float, Field(ge=1, le=60_000, description="A shorter silence does not divide.")
    ] = 100.0
    min_ms: Annotated[
        float,
        Field(
            ge=0,
            le=60_000,
            description="Onsets and beats that follow sooner are passed over, sounds between silences that are shorter "
            "are left out.",
        ),
    ] = 50.0
    max_n: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_SLICES,
            description="Of onsets, beats and sounds the first so many are cut; `facts` say how many there were.",
        ),
    ] = 128
    snap: Annotated[
        Literal["zero", "onset", "none"],
        Field(
            description="Move each cut to a zero crossing within 5 ms (before an attack, not behind it), to an onset within "
            "50 ms, or leave it."
        ),
    ] = "zero"
    fade_ms: Annotated[
        float,
        Field(
            ge=0,
            le=1000,
            description="Fade out for so long at the end of each slice, and in for a quarter of it, so that attacks stay. 0: "
            "not a bit is changed.",
        ),
    ] = 2.0
    tail_db: Annotated[
        float | None,
        Field(
            ge=-120,
            lt=0,
            description="End a slice where it stays so many dB below its own peak; null: keep all of it.",
        ),
    ] = None
    name_template: Annotated[
        str,
        AfterValidator(check_template),
        Field(
            min_length=1,
            max_length=100,
            description="{title} {name} {class} {group} {n} {n:02} {start} {bpm}: the asset, the region, what is heard, "
            "which alike hits, the number, the seconds, the tempo. Equal names get a number.",
        ),
    ] = "{title} {class} {n:02}"
    classify: Annotated[bool, Field(description="Say what each slice is: kick, snare, hat…")] = True
    dedupe: Annotated[
        float | None,
        Field(ge=0.5, le=1, description="Slices at least so alike are one group; null: do not compare."),
    ] = 0.97

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if any(later <= earlier for earlier, later in zip(self.beats, self.beats[1:], strict=False)):
            raise ValueError("beats must rise")
        return self

    def missing(self) -> frozenset[Known]:
        if self.method == "regions" and (self.region_ids or not self.regions):
            return frozenset({"regions"})
        return frozenset()

    @property
    def needs_beats(self) -> bool:
        return self.method == "grid" and not self.beats and self.bpm is None

    def check(self, info: AudioInfo, *, analysed: bool = False) -> None:
        """Whether this can be done to such a recording. Raises ValidationFailed, RegionOutOfBounds."""
        if self.region_ids:
            _refuse("region_ids", "unresolved", "only the server knows them: give regions")
        if self.method == "regions":
            if not self.regions:
                _refuse("regions", "missing", "name regions: the asset has none")
            for i, region in enumerate(self.regions):
                frames_between(
                    region.start_s,
                    region.end_s,
                    sample_rate=info.sample_rate,
                    frames=info.frames,
                    pointer=f"/params/regions/{i}",
                )
        if self.needs_beats and not analysed:
            _refuse("beats", "missing", "give beats, bpm, or an analysis as a second input")
        if self.method == "equal" and self.parts is None:
            _refuse("parts", "missing", "say how many")
        if self.method == "equal" and self.parts is not None and self.parts > info.frames:
            _refuse("parts", "too_many", f"the recording has {info.frames} samples")


def _refuse(name: str, code: str, message: str) -> None:
    raise ValidationFailed(f"{name}: {message}", fields=[FieldError(f"/params/{name}", code, message)])
