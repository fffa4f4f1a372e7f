"""The weights that Demucs can run, and what is known of them before they are loaded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from neuralib.executors import Bundled, Checkpoint, Hub, Untrained, Weights

FOUR = ("drums", "bass", "other", "vocals")
SIX = (*FOUR, "guitar", "piano")
HUB = "https://huggingface.co/adefossez"
OFFICIAL = (
    "unclear: published beside MIT code without a licence of their own; "
    "trained in part on MUSDB18-HQ, which is for non-commercial use"
)
HEADER_LIMIT = 16 << 20
BUNDLED = Path(__file__).parents[1] / "bundled"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a checkpoint looks at audio. A bag has several members; the others have one."""

    stems: tuple[str, ...] = FOUR
    segment: Fraction = Fraction(39, 5)
    """Seconds of one window."""
    fixed: bool = True
    """Whether the network only knows windows of exactly this length, as HTDemucs does."""
    sample_rate: int = 44_100
    mixing: tuple[tuple[float, ...], ...] = ((1.0, 1.0, 1.0, 1.0),)
    """Member by stem: how much each member says in each stem."""
    parts: tuple[float, ...] = ()
    """Of what is missing in the stems, each takes so many times the root of its magnitude; none given: all take the same.
    By magnitude pays where much is missing; of the published weights hardly anything is.
    """

    def members(self, stems: Sequence[str]) -> tuple[int, ...]:
        """The members that have a say in any of these stems: the others need not run."""
        columns = [self.stems.index(stem) for stem in stems]
        return tuple(m for m, row in enumerate(self.mixing) if any(row[c] for c in columns))

    def heard(self, member: int) -> tuple[int, ...]:
        """The places of the stems in which a member has a say."""
        return tuple(place for place, weight in enumerate(self.mixing[member]) if weight)

    def share(self, member: int, stem: str) -> float:
        """The part of a stem that this member gives; over all members it sums to one."""
        column = self.stems.index(stem)
        return self.mixing[member][column] / sum(row[column] for row in self.mixing)

    @property
    def details(self) -> dict[str, Any]:
        return {
            "stems": list(self.stems),
            "segment_s": float(self.segment),
            "fixed": self.fixed,
            "sample_rate": self.sample_rate,
            "mixing": [list(row) for row in self.mixing],
            "parts": list(self.parts),
        }


def shape_of(checkpoint: Checkpoint | None) -> Shape:
    """What is known of a checkpoint: declared in its details, else read from the header of the operator's file."""
    if checkpoint is None:
        return Shape()
    if checkpoint.details:
        details = checkpoint.details
        return Shape(
            stems=tuple(details["stems"]),
            segment=Fraction(details["segment_s"]).limit_denominator(1000),
            fixed=details["fixed"],
            sample_rate=details["sample_rate"],
            mixing=tuple(tuple(row) for row in details["mixing"]),
            parts=tuple(details["parts"]),
        )
    paths = [path for s in checkpoint.sources if isinstance(path := getattr(s, "path", None), Path)]
    return shape_of_file(paths[0]) if paths and paths[0].is_file() else Shape()


def shape_of_file(path: Path) -> Shape:
    """Read from the metadata of a safetensors file, without torch. Raises ValueError, OSError, KeyError."""
    metadata = header(path)
    args, kwargs = arguments(metadata)
    stems = tuple(args[0] if args else kwargs["sources"])
    transformer = class_name(metadata).endswith("HTDemucs")
    return Shape(
        stems=stems,
        segment=Fraction(kwargs.get("segment", 10 if transformer else 40)),
        fixed=transformer and kwargs.get("use_train_segment", True),
        sample_rate=kwargs.get("samplerate", 44_100),
        mixing=((1.0,) * len(stems),),
    )


def header(path: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            raise ValueError(f"{path.name} is not a safetensors file")
        metadata = json.loads(file.read(length)).get("__metadata__")
    if not isinstance(metadata, dict):
        raise ValueError(f"{path.name} does not say which network it belongs to")  # noqa: TRY004 - a bad file
    return metadata


def class_name(metadata: Mapping[str, str]) -> str:
    """The network's class: `klass` in the files of the Demucs authors, `class` in ours."""
    return metadata.get("klass") or metadata.get("class") or ""


def arguments(metadata: Mapping[str, str]) -> tuple[list[Any], dict[str, Any]]:
    """What the network was made with: positional and keyword arguments."""
    args = _plain(json.loads(metadata.get("args", "[]")))
    kwargs = _plain(json.loads(metadata["kwargs"]))
    return args, kwargs


def _plain(value: Any) -> Any:
    """Undo the JSON form of fractions."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _official(
    name: str, title: str, folder: str, signatures: Sequence[str], shape: Shape, *, auto: bool
) -> Checkpoint:
    hub = Hub(
        urls=tuple(f"{HUB}/{folder}/resolve/main/{signature}.safetensors" for signature in signatures),
        sha256=(None,) * len(signatures),  # the authors publish no digests; safetensors cannot carry code
        folder=f"demucs/{name}",
    )
    return Checkpoint(
        name=name,
        title=title,
        license=OFFICIAL,
        commercial_use=False,
        sources=(hub,),
        auto=auto,
        details=shape.details,
    )


CHECKPOINTS = (
    _official("htdemucs", "Hybrid Transformer Demucs", "HTDemucs", ["955717e8"], Shape(), auto=True),
    Checkpoint(
        name="hdemucs_mini",
        title="Small Hybrid Demucs, trained by us on synthetic songs",
        license="MIT",
        commercial_use=True,
        demo=True,
        sources=(
            Bundled(
                (BUNDLED / "hdemucs_mini.safetensors", BUNDLED / "hdemucs_mini_drums.safetensors"),
                sha256=(
                    "6e83a0c8798bc99dd5a93f4ac8abaa9ba70811fc69b8037ffff4eef1241cae3f",
                    "168e4aec988a44c7f722ad3173184b58ae5f8d07897c2337fb2d2dd813de05c8",
                ),
            ),
        ),
        # The second member knows drums and nothing else, and errs less: drums take half of what others would.
        details=Shape(
            segment=Fraction(4),
            fixed=False,
            mixing=((0.0, 1.0, 1.0, 1.0), (1.0, 0.0, 0.0, 0.0)),
            parts=(0.5, 1.0, 1.0, 1.0),
        ).details,
    ),
    _official(
        "htdemucs_ft",
        "Hybrid Transformer Demucs, fine-tuned for each stem",
        "HTDemucs-ft",
        ["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"],
        Shape(mixing=tuple(tuple(float(m == s) for s in range(4)) for m in range(4))),
        auto=False,
    ),
    _official(
        "htdemucs_6s",
        "Hybrid Transformer Demucs with guitar and piano",
        "HTDemucs-6s",
        ["5c90dfd2"],
        Shape(stems=SIX, mixing=((1.0,) * 6,)),
        auto=False,
    ),
    Checkpoint(
        name="htdemucs_untrained",
        title="Hybrid Transformer Demucs with random weights: right shape, no meaning",
        license="MIT",
        commercial_use=True,
        sources=(Untrained(),),
        auto=False,
        trained=False,
        details=Shape().details,
    ),
)


def shape_of_weights(weights: Weights) -> Shape:
    """Windows and stems as the first file says, the bag and how its stems add up as declared; else all members count
    alike. Raises what `shape_of_file` raises.
    """
    members = len(weights.files)
    shape = shape_of_file(weights.files[0]) if members else Shape()
    for checkpoint in CHECKPOINTS:
        declared = shape_of(checkpoint)
        if checkpoint.name == weights.name and len(declared.mixing) == members:
            return replace(shape, mixing=declared.mixing, parts=declared.parts)
    return replace(shape, mixing=shape.mixing * max(members, 1))
