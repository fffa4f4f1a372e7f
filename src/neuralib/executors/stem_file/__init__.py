"""Stem files: a track and its four stems in one MP4, as Native Instruments' Stems format has them; players that know
nothing of stems play the track.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from neuralib.audio import AudioInfo
from neuralib.errors import InputUnsupported
from neuralib.executors import (
    Checkpoint,
    Executor,
    FileOutput,
    InputInfo,
    Output,
    Params,
    Plan,
    Precision,
    Recording,
    RunContext,
    Takes,
    Weights,
)

from .container import BLOCK, Codec, Stem, describe, put_atom, write

STEMS: Mapping[str, Stem] = {
    "drums": Stem("Drums", "#e5484d"),
    "bass": Stem("Bass", "#8e4ec6"),
    "other": Stem("Other", "#46a758"),
    "vocals": Stem("Vocals", "#0091ff"),
}
"""In the order of the format, with the colours that players show."""
RATES = (44_100, 48_000)
MEDIA_TYPE = "audio/mp4"
SUFFIX = ".stem.mp4"


class StemFileParams(Params):
    """How to write it."""

    codec: Annotated[
        Codec, Field(description="alac keeps 16 and 24 bits as they are; aac is a tenth as large, and lossy.")
    ] = "alac"


class StemFile(Executor[StemFileParams]):
    """Takes the track first, then its stems, named drums, bass, other and vocals."""

    name = "stem-file"
    title = "Stem file"
    operation = "stem-file"
    code_license = "MIT"
    params = StemFileParams
    takes = (Takes("audio", least=1 + len(STEMS), most=1 + len(STEMS)),)

    def load(self, weights: Weights | None, device: str, precision: Precision) -> None:
        """There is nothing to load."""

    @classmethod
    def check(cls, inputs: Sequence[InputInfo], params: StemFileParams) -> None:
        """Raises InputUnsupported for other stems than these four, and for audio that the format does not hold."""
        require_stems([each.name for each in inputs[1:]])
        _require_alike([each.audio for each in inputs if each.audio])

    @classmethod
    def plan(cls, info: AudioInfo, params: StemFileParams, checkpoint: Checkpoint | None) -> Plan:
        return Plan(windows=_blocks(info.frames))

    def run(self, recording: Recording, params: StemFileParams, context: RunContext) -> Output:
        by_name = {each.name: each.content for each in context.inputs if isinstance(each.content, Recording)}
        recordings = [recording, *(by_name[name] for name in STEMS)]
        _require_alike(recordings)
        frames, path = max(each.frames for each in recordings), context.scratch / f"song{SUFFIX}"
        bits = 16 if all(each.subtype in {"pcm_16", "lossy"} for each in recordings) else 24
        steps, done = _blocks(frames), 0

        def on_block() -> None:
            nonlocal done
            done += 1
            context.progress(done, steps)

        write(path, recordings, codec=params.codec, bits=bits, on_block=on_block)
        put_atom(path, describe(list(STEMS.values())))
        audio = {
            "format": "m4a",
            "codec": params.codec,
            "subtype": "lossy" if params.codec == "aac" else f"pcm_{bits}",
            "sample_rate": recording.sample_rate,
            "channels": 2,
            "frames": frames,
            "duration_s": frames / recording.sample_rate,
        }
        file = FileOutput(
            "audio", path.name, MEDIA_TYPE, path, {"stems": list(STEMS)},
            role="stem-file", label=f"{{title}}{SUFFIX}", audio=audio,
        )  # fmt: skip
        return Output(files=(file,))


def require_stems(names: Sequence[str | None]) -> None:
    """Raises InputUnsupported unless these are the four stems, in any order."""
    if sorted(map(str, names)) != sorted(STEMS):
        found = ", ".join(sorted(map(str, names))) or "none"
        raise InputUnsupported(f"a stem file holds {', '.join(STEMS)}; these are {found}")


def _require_alike(given: Sequence[AudioInfo | Recording]) -> None:
    rates = {each.sample_rate for each in given}
    if len(rates) > 1 or not rates <= set(RATES):
        told = ", ".join(f"{rate} Hz" for rate in sorted(rates))
        raise InputUnsupported(f"a stem file is of 44100 or 48000 Hz throughout, not of {told}")
    if widest := max((each.channels for each in given if each.channels > 2), default=0):
        raise InputUnsupported(f"a stem file is stereo; a recording of {widest} channels does not fit")


def _blocks(frames: int) -> int:
    return max(1, -(-frames // BLOCK))
