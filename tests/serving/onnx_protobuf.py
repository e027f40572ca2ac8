"""The parts of an ONNX file, written without the onnx package; field numbers are those of onnx.proto."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, UINT8, INT64, BOOL = 1, 2, 7, 9
CODES = {"float32": FLOAT, "float16": 10, "uint8": UINT8, "int64": INT64, "bool": BOOL}


def varint(value: int) -> bytes:
    """An unsigned integer of protobuf; negative ones as 64-bit two's complement."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """An integer field."""
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    """A field that holds bytes, text or a message."""
    data = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    """A text field."""
    return message(field, value.encode())


def tensor(name: str, values: NDArray[Any], *extra: bytes) -> bytes:
    """A TensorProto with its values inside."""
    dims = b"".join(number(1, size) for size in values.shape)
    raw = b"" if extra else message(9, np.ascontiguousarray(values).tobytes())
    return dims + number(2, CODES[str(values.dtype)]) + text(8, name) + raw + b"".join(extra)


def attribute(name: str, value: int | float | Sequence[int]) -> bytes:
    """An AttributeProto of a number or of integers."""
    if isinstance(value, float):
        return text(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return text(1, name) + number(3, value) + number(20, 2)
    return text(1, name) + b"".join(number(8, v) for v in value) + number(20, 7)


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | float | Sequence[int]) -> bytes:
    """A NodeProto with one output."""
    named = b"".join(message(5, attribute(k, v)) for k, v in attributes.items())
    return b"".join(text(1, i) for i in inputs) + text(2, output) + text(4, kind) + named


def value_info(name: str, dtype: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of a tensor; a text axis is a free one."""
    axes = b"".join(message(1, text(2, a) if isinstance(a, str) else number(1, a)) for a in shape)
    return text(1, name) + message(2, message(1, number(1, CODES[dtype]), message(2, axes)))


def model(
    nodes: Sequence[bytes],
    weights: Mapping[str, NDArray[Any]],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    metadata: Mapping[str, str],
    tensors: Sequence[bytes] = (),
) -> bytes:
    """A ModelProto."""
    graph = [message(1, n) for n in nodes] + [text(2, "generator")]
    graph += [message(5, tensor(name, values)) for name, values in weights.items()] + [message(5, t) for t in tensors]
    graph += [message(11, i) for i in inputs] + [message(12, o) for o in outputs]
    opset = message(8, text(1, ""), number(2, 17))
    entries = [message(14, text(1, key), text(2, value)) for key, value in metadata.items()]
    return number(1, 8) + message(7, *graph) + opset + b"".join(entries)
