"""Read an ONNX file's metadata, and refuse what no model may have, before onnxruntime parses the file.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contract.runtime import MAX_NODES, RANDOM
from serving.errors import ModelError, Nondeterministic, cut

MAX_FIELDS = 2_000_000
"""Fields of all messages that are read; 20,000 nodes have half of that, and each takes a microsecond."""
MAX_DEPTH = 64
"""Nested messages, at most."""
DOMAINS = frozenset({"", "ai.onnx"})
"""Allowed operator domains: ONNX's own, which need no other library."""
ENDLESS = frozenset({"Loop"})
"""Operators that may run endlessly."""

CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "entry": {},
}
"""By message type, the fields whose messages are read, with their types."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
OP_TYPE, DOMAIN = 4, 7
KEY, VALUE = 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass
class Contents:
    """The properties of a model file that are checked before it is run."""

    metadata: dict[str, str]
    has_external_data: bool = False
    nodes: int = 0
    fields: int = 0


def read_contents(data: bytes) -> Contents:
    """The metadata of a model file, and whether any tensor is stored in another file.

    Raises:
        ModelError: the bytes are no ONNX protobuf message, or hold a forbidden operator.
    """
    contents = Contents({})
    try:
        _walk(memoryview(data), "model", contents, 0)
    except (IndexError, UnicodeDecodeError):
        raise ModelError("the file is truncated or not an ONNX model") from None
    return contents


def _walk(data: memoryview, kind: str, contents: Contents, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelError(f"the file nests graphs deeper than {MAX_DEPTH}")
    entry: dict[int, str] = {}
    for number, value in fields(data):
        contents.fields += 1
        if contents.fields > MAX_FIELDS:
            raise ModelError(f"the file must have at most {MAX_FIELDS} fields outside of its weights")
        if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value)):
            contents.has_external_data = True
        elif kind == "entry" and isinstance(value, memoryview):
            entry[number] = str(value, "utf-8")
        elif kind == "node" and number in (OP_TYPE, DOMAIN) and isinstance(value, memoryview):
            _check_node(number, str(value, "utf-8"))
        elif number in CHILDREN[kind] and isinstance(value, memoryview):
            _walk(value, CHILDREN[kind][number], contents, depth + 1)
    contents.nodes += kind == "node"
    if contents.nodes > MAX_NODES:
        raise ModelError(f"the graph must have at most {MAX_NODES} nodes")
    if kind == "entry":
        contents.metadata[entry.get(KEY, "")] = entry.get(VALUE, "")


def _check_node(number: int, value: str) -> None:
    if number == DOMAIN and value not in DOMAINS:
        raise ModelError(f"operators must be ONNX's own, got one of the domain {cut(value)!r}")
    if number == OP_TYPE and value in ENDLESS:
        raise ModelError(f"the operator {value} may run endlessly; a model must not have it")
    if number == OP_TYPE and value in RANDOM:
        raise Nondeterministic(f"the same seed gives different outputs: the operator {value} draws numbers of its own")


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Iterate over the fields of one message: field number, and an integer or the bytes.

    Raises:
        IndexError: the message ends too early.
        ModelError: a field has the number 0, or one of more than 29 bits, of which onnxruntime would read 29, or a wire type
            that ONNX does not use.
    """
    offset = 0
    while offset < len(data):
        key, offset = _varint(data, offset)
        number, wire = key >> 3, key & 7
        if number == 0 or key >> 32:
            raise ModelError("the file is truncated or not an ONNX model")
        if wire == VARINT:
            value, offset = _varint(data, offset)
            yield number, value
        elif wire in (FIXED64, FIXED32):
            offset += 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            length, offset = _varint(data, offset)
            if offset + length > len(data):
                raise IndexError(offset + length)
            yield number, data[offset : offset + length]
            offset += length
        else:
            raise ModelError("the file is truncated or not an ONNX model")


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise IndexError(offset)
