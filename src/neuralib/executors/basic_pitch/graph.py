"""Reads the layers out of an ONNX file, which is a protocol buffer, without the onnx package.

Source of the field numbers: onnx.proto3 of the ONNX project.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuralib.errors import ModelLoadFailed

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OP_TYPE = 1, 4
TENSOR_DIMS, TENSOR_DATA_TYPE, TENSOR_NAME, TENSOR_RAW_DATA = 1, 2, 8, 9
FLOAT = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the graph with its operator and the float constants among its inputs, in their order."""

    op: str
    constants: tuple[Array, ...]


def read_layers(path: Path) -> list[Layer]:
    """Every node of the graph in `path`, in the order of computation. Raises ModelLoadFailed."""
    try:
        model = memoryview(path.read_bytes())
        graph = next(bytes_of(value) for number, value in _fields(model) if number == MODEL_GRAPH)
        constants: dict[str, Array] = {}
        nodes: list[tuple[str, list[str]]] = []
        for number, value in _fields(graph):
            if number == GRAPH_INITIALIZER:
                constants.update(_tensor(bytes_of(value)))
            elif number == GRAPH_NODE:
                nodes.append(_node(bytes_of(value)))
    except (OSError, StopIteration, IndexError, ValueError, struct.error) as error:
        raise ModelLoadFailed(f"{path.name} is not an ONNX file that can be read") from error
    return [Layer(op, tuple(constants[i] for i in inputs if i in constants)) for op, inputs in nodes]


def _node(message: memoryview) -> tuple[str, list[str]]:
    op, inputs = "", []
    for number, value in _fields(message):
        if number == NODE_INPUT:
            inputs.append(str(bytes_of(value), "utf-8"))
        elif number == NODE_OP_TYPE:
            op = str(bytes_of(value), "utf-8")
    return op, inputs


def _tensor(message: memoryview) -> dict[str, Array]:
    """`{name: array}` of a float tensor; nothing of any other."""
    name, kind, raw = "", 0, memoryview(b"")
    shape: list[int] = []
    for number, value in _fields(message):
        if number == TENSOR_DIMS:
            shape.extend([value] if isinstance(value, int) else _varints(value))
        elif number == TENSOR_DATA_TYPE and isinstance(value, int):
            kind = value
        elif number == TENSOR_NAME:
            name = str(bytes_of(value), "utf-8")
        elif number == TENSOR_RAW_DATA:
            raw = bytes_of(value)
    return {name: np.frombuffer(raw, "<f4").reshape(shape).copy()} if kind == FLOAT else {}


def bytes_of(value: int | memoryview) -> memoryview:
    """A length-delimited field. Raises ValueError for any other."""
    if isinstance(value, int):
        raise ValueError("a number stands where a message was expected")  # noqa: TRY004 - the file is wrong
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of a message, in order: numbers as int, everything else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise ValueError("the message ends early")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number at `at`, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value
