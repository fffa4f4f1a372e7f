"""Whisper weights in CTranslate2's `model.bin`, read as plain tensors and written as safetensors.

The format (version 6, little endian): u32 version; the name of the spec; u32 revision; u32 count; then per tensor
its name, u8 rank, u32 sizes, u8 type, u32 bytes, data; then u32 count of aliases, a pair of names each. A name is
a u16 length, terminating zero included, and its bytes. Nothing in it can run.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from neuralib.errors import ModelLoadFailed

VERSION = 6
TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
LIMIT = 1 << 14
"""More tensors than any Whisper has."""

Tensors = dict[str, NDArray[Any]]


def convert(parts: Sequence[Path], target: Path) -> None:
    """Write the `model.bin` that the joined `parts` hold as fp16 safetensors under openai's tensor names, with the
    model's dimensions in the metadata. Raises ModelLoadFailed.
    """
    from safetensors.numpy import save_file

    tensors = read(parts)
    dims = _dims(tensors)
    weights = {name: np.ascontiguousarray(value, dtype=np.float16) for name, value in _renamed(tensors, dims)}
    save_file(weights, target, metadata={"dims": json.dumps(dims)})


def read(parts: Sequence[Path]) -> Tensors:
    """Every tensor of the file, by CTranslate2's names. Raises ModelLoadFailed."""
    with _Joined(parts) as file:
        version = file.u32()
        spec = file.string()
        if version != VERSION or spec != "WhisperSpec":
            raise ModelLoadFailed(
                f"{parts[0].name} holds {spec!r} version {version}, not WhisperSpec {VERSION}"
            )
        file.u32()  # the spec's own revision
        count = file.u32()
        if count > LIMIT:
            raise ModelLoadFailed(f"{parts[0].name} says it holds {count} tensors")
        tensors = dict(file.tensor() for _ in range(count))
        aliases = [(file.string(), file.string()) for _ in range(min(file.u32(), LIMIT))]
    return tensors | {alias: tensors[target] for alias, target in aliases}


class _Joined:
    """Reads the parts as one file."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = list(parts)
        self._file: BinaryIO = self._parts.pop(0).open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, size: int) -> bytes:
        taken = self._file.read(size)
        while len(taken) < size and self._parts:
            self._file.close()
            self._file = self._parts.pop(0).open("rb")
            taken += self._file.read(size - len(taken))
        if len(taken) < size:
            raise ModelLoadFailed("the weights end early")
        return taken

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def string(self) -> str:
        return self.take(int.from_bytes(self.take(2), "little"))[:-1].decode()

    def tensor(self) -> tuple[str, NDArray[Any]]:
        name = self.string()
        shape = [self.u32() for _ in range(self.take(1)[0])]
        kind = TYPES.get(self.take(1)[0])
        if kind is None:
            raise ModelLoadFailed(f"tensor {name} has a type that is not read here")
        return name, np.frombuffer(self.take(self.u32()), dtype=kind).reshape(shape)


def _dims(tensors: Tensors) -> dict[str, int]:
    """The model's sizes by openai's names, from the shapes."""
    conv, text = tensors["encoder/conv1/weight"], tensors["decoder/position_encodings/encodings"]
    vocabulary, width = tensors["decoder/embeddings/weight"].shape
    return {
        "n_mels": conv.shape[1],
        "n_audio_ctx": tensors["encoder/position_encodings/encodings"].shape[0],
        "n_audio_state": conv.shape[0],
        "n_audio_head": int(tensors["encoder/num_heads"]),
        "n_audio_layer": _layers(tensors, "encoder"),
        "n_vocab": vocabulary,
        "n_text_ctx": text.shape[0],
        "n_text_state": width,
        "n_text_head": int(tensors["decoder/num_heads"]),
        "n_text_layer": _layers(tensors, "decoder"),
    }


def _layers(tensors: Tensors, part: str) -> int:
    return sum(
        1 for name in tensors if name.startswith(f"{part}/layer_") and name.endswith("/ffn/linear_0/weight")
    )


def _renamed(tensors: Tensors, dims: dict[str, int]) -> Iterator[tuple[str, NDArray[Any]]]:
    for conv in ("conv1", "conv2"):
        yield from _both(tensors, f"encoder/{conv}", f"encoder.{conv}")
    yield "encoder.positional_embedding", tensors["encoder/position_encodings/encodings"]
    yield "decoder.positional_embedding", tensors["decoder/position_encodings/encodings"]
    yield "decoder.token_embedding.weight", tensors["decoder/embeddings/weight"]
    yield from _norm(tensors, "encoder/layer_norm", "encoder.ln_post")
    yield from _norm(tensors, "decoder/layer_norm", "decoder.ln")
    for part, count in (("encoder", dims["n_audio_layer"]), ("decoder", dims["n_text_layer"])):
        for i in range(count):
            yield from _layer(tensors, f"{part}/layer_{i}", f"{part}.blocks.{i}")


def _layer(tensors: Tensors, source: str, target: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from _norm(tensors, f"{source}/self_attention/layer_norm", f"{target}.attn_ln")
    yield from _split(
        tensors, f"{source}/self_attention/linear_0", f"{target}.attn", ("query", "key", "value")
    )
    yield from _both(tensors, f"{source}/self_attention/linear_1", f"{target}.attn.out")
    if f"{source}/attention/linear_0/weight" in tensors:
        yield from _norm(tensors, f"{source}/attention/layer_norm", f"{target}.cross_attn_ln")
        yield from _both(tensors, f"{source}/attention/linear_0", f"{target}.cross_attn.query")
        yield from _split(tensors, f"{source}/attention/linear_1", f"{target}.cross_attn", ("key", "value"))
        yield from _both(tensors, f"{source}/attention/linear_2", f"{target}.cross_attn.out")
    yield from _norm(tensors, f"{source}/ffn/layer_norm", f"{target}.mlp_ln")
    yield from _both(tensors, f"{source}/ffn/linear_0", f"{target}.mlp.0")
    yield from _both(tensors, f"{source}/ffn/linear_1", f"{target}.mlp.2")


def _norm(tensors: Tensors, source: str, target: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{target}.weight", tensors[f"{source}/gamma"]
    yield f"{target}.bias", tensors[f"{source}/beta"]


def _both(tensors: Tensors, source: str, target: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{target}.weight", tensors[f"{source}/weight"]
    yield f"{target}.bias", tensors[f"{source}/bias"]


def _split(
    tensors: Tensors, source: str, target: str, names: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Projections that CTranslate2 stacks. Keys have no bias in Whisper: the stored zeros are left out."""
    weights = np.split(tensors[f"{source}/weight"], len(names))
    biases = np.split(tensors[f"{source}/bias"], len(names))
    for name, weight, bias in zip(names, weights, biases, strict=True):
        yield f"{target}.{name}.weight", weight
        if name != "key":
            yield f"{target}.{name}.bias", bias
        elif bias.any():
            raise ModelLoadFailed(f"{source} has a bias on its keys; Whisper has none")
