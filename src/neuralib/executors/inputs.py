"""What executors take: how many inputs of which kinds, checked before a job is accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from neuralib.audio import AudioInfo, Recording
from neuralib.errors import FieldError, InputUnsupported, ValidationFailed

InputKind = Literal["audio", "midi", "transcript", "analysis"]


@dataclass(frozen=True, slots=True)
class Takes:
    """So many inputs of one kind."""

    kind: InputKind
    least: int = 1
    most: int = 1
    media_types: tuple[str, ...] = ()
    """Of what is no audio, which is decoded whatever it is; empty: any."""


@dataclass(frozen=True, slots=True)
class InputInfo:
    """An input before a job runs. `name` is what the request calls it, or None."""

    kind: str
    media_type: str
    name: str | None = None
    audio: AudioInfo | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a run: audio decoded, anything else as the file that it is."""

    kind: str
    content: Recording | Path
    name: str | None = None


def check_inputs(model: str, takes: Sequence[Takes], given: Sequence[InputInfo]) -> None:
    """Raises InputUnsupported for what the model does not take, ValidationFailed for a name that two inputs have."""
    for place, each in enumerate(given):
        wanted = next((take for take in takes if take.kind == each.kind), None)
        if place == 0 and each.kind != "audio":
            _refuse(place, f"{model} takes audio first, not {each.kind}")
        if wanted is None:
            _refuse(place, f"{model} takes no {each.kind}")
        if wanted.media_types and each.media_type not in wanted.media_types:
            _refuse(
                place, f"{model} takes {each.kind} as {', '.join(wanted.media_types)}, not {each.media_type}"
            )
        if each.name is not None and each.name in {other.name for other in given[:place]}:
            field = FieldError(f"/inputs/{place}/name", "duplicate", "names an input before it too")
            raise ValidationFailed(f"two inputs are called {each.name}", fields=[field])
    for take in takes:
        count = sum(each.kind == take.kind for each in given)
        if not take.least <= count <= take.most:
            raise InputUnsupported(f"{model} takes {_span(take)} {take.kind}, not {count}")


def _span(take: Takes) -> str:
    return str(take.most) if take.least == take.most else f"{take.least} to {take.most}"


def _refuse(place: int, message: str) -> NoReturn:
    raise InputUnsupported(message, fields=[FieldError(f"/inputs/{place}/asset_id", "unsupported", message)])
