"""Look inside a model before it serves: at weights, sizes of intermediate results, and images before they are rounded.

A serialised graph with only further nodes and outputs, appended to a model's bytes, is merged with its graph, since protobuf
concatenates repeated fields. That gives a session with all intermediate results as outputs, and one that detects NaN in each
run, without a library that writes ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from contract import Array, Card, Image, probe_inputs
from contract.runtime import PROBE_SEEDS
from serving.errors import ModelError, Nondeterministic, shown
from serving.model.memory import available_memory
from serving.model.onnx_file import fields
from serving.model.runtime import Session, open_session

GRAPH, NODE, INITIALIZER, OUTPUT = 7, 1, 5, 12
NODE_INPUT, NODE_OUTPUT, OP_TYPE, ATTRIBUTE, ATTRIBUTE_TENSOR = 1, 2, 4, 5, 5
VALUE_NAME, TENSOR_TYPE, FLOAT_DATA, INT32_DATA, TENSOR_NAME, RAW_DATA, DOUBLE_DATA = 1, 2, 4, 5, 8, 9, 10
BOOLEAN = 9
"""Element type of Booleans."""
FLOATS: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
"""Element types by number; others cannot be NaN, or are no type of NumPy."""
GUARD = "gan.guard"
"""Name of the further output of a guarded model, and the beginning of the names of its parts."""
RUN_BYTES = 2**23
"""Bytes of an intermediate result in one run at most: onnxruntime keeps what the largest run has needed."""
ITEM_BYTES = {"float16": 2, "float": 4, "double": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1}
UNCHANGED = frozenset({"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that only move values."""
BOUNDING = UNCHANGED | {"Cast", "Clip", "Max", "Min", "Round"}
"""Operators that may give a number for NaN or infinity, or that only move values."""
FLOAT_TYPES = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})
SEEDS = (*PROBE_SEEDS, *range(3, 27))


@dataclass
class Graph:
    """The parts of a model's graph that are inspected."""

    producers: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Intermediate results, each with the operator that computes it and that operator's inputs."""
    false: set[str] = field(default_factory=set)
    """Names of Boolean constants that are false."""
    outputs: set[str] = field(default_factory=set)


def read_graph(data: bytes) -> Graph:
    """Read the operators of a model's graph, and check its weights.

    Raises:
        ModelError: a weight is NaN or infinite, or a ``Dropout`` is in training mode.
    """
    graph = Graph()
    for message in _messages(memoryview(data), GRAPH):
        for number, value in fields(message):
            if number == NODE and isinstance(value, memoryview):
                _read_node(graph, value)
            elif number == INITIALIZER and isinstance(value, memoryview):
                _check_tensor(value)
                if _is_false(value):
                    graph.false.update(_texts(value, TENSOR_NAME))
            elif number == OUTPUT and isinstance(value, memoryview):
                graph.outputs.update(_texts(value, VALUE_NAME))
    for operator, inputs in graph.producers.values():
        if operator == "Dropout" and len(inputs) > 2 and inputs[2] and inputs[2] not in graph.false:
            raise Nondeterministic("the same seed gives different outputs: a Dropout is in training mode")
    return graph


def _read_node(graph: Graph, node: memoryview) -> None:
    operator, inputs = next(_texts(node, OP_TYPE), ""), list(_texts(node, NODE_INPUT))
    graph.producers.update({name: (operator, inputs) for name in _texts(node, NODE_OUTPUT) if name})
    for attribute in _messages(node, ATTRIBUTE):
        for tensor in _messages(attribute, ATTRIBUTE_TENSOR):
            _check_tensor(tensor)


def _is_false(tensor: memoryview) -> bool:
    """Whether a tensor is Boolean and holds nothing but false; weights of other types, which may be large, are not read."""
    values = list(fields(tensor))
    parts = [value for number, value in values if number in (RAW_DATA, INT32_DATA)]
    if (TENSOR_TYPE, BOOLEAN) not in values or not parts:
        return False
    return not any(any(part) if isinstance(part, memoryview) else part for part in parts)


def _check_tensor(tensor: memoryview) -> None:
    values = dict(fields(tensor))
    kind, data = values.get(TENSOR_TYPE), values.get(RAW_DATA, values.get(FLOAT_DATA, values.get(DOUBLE_DATA)))
    dtype = FLOATS.get(kind) if isinstance(kind, int) else None
    if dtype is None or not isinstance(data, memoryview) or len(data) % dtype.itemsize:
        return
    numbers: Array = np.frombuffer(data, dtype)
    if not np.isfinite(numbers).all():
        name = next(_texts(tensor, TENSOR_NAME), "")
        raise ModelError(f"the weights {shown(name)} hold NaN or infinity")


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    return (value for found, value in fields(data) if found == number and isinstance(value, memoryview))


def _texts(data: memoryview, number: int) -> Iterator[str]:
    return (str(value, "utf-8", "replace") for value in _messages(data, number))


class Inspection:
    """A model whose outputs are all intermediate results.

    Args:
        session: runs it.
        graph: its operators.
    """

    def __init__(self, session: Session, graph: Graph) -> None:
        self._session = session
        self._graph = graph

    def check_memory(self, batch: int, available: int | None = None) -> None:
        """Refuse a model of which one intermediate result alone needs more memory than there is.

        Args:
            batch: rows of the largest batch; a result of unknown size is not counted.
            available: bytes; None to ask the system.

        Raises:
            ModelError: it does.
        """
        limit = available_memory() if available is None else available
        for output in self._session.get_outputs():
            size = self._size_of(output, batch)
            if size > limit:
                raise ModelError(f"{shown(output.name)} needs {size} bytes in a batch of {batch}, and there are {limit}")

    def most_rows(self) -> int:
        """Rows of one run, of which the largest intermediate result has at most ``RUN_BYTES``; at least one."""
        sizes = [self._size_of(output, 1) for output in self._session.get_outputs()]
        return max(1, RUN_BYTES // max(sizes, default=1))

    def check_rounded(self, card: Card) -> None:
        """Check images or tokens before they are rounded: a cast of NaN to an integer is a black or white pixel.

        Raises:
            ModelError: one of ``SEEDS`` gives NaN or infinity, or a level far from 0..255 that nothing bounds, of which a cast
                makes any number.
        """
        if not (rounding := self._rounding(card.output.kind)):
            return
        *bounds, rounded = rounding
        (levels,) = self._session.run([rounded], probe_inputs(card.latents, card.picture, SEEDS))
        if not np.isfinite(levels).all():
            raise ModelError(f"the {card.output.kind} holds NaN or infinity before it is rounded")
        is_bounded = any(self._graph.producers[name][0] in ("Clip", "Max", "Min") for name in bounds)
        if isinstance(card.output, Image) and not is_bounded and (levels.min() <= -1 or levels.max() >= 256):
            raise ModelError(f"levels must be 0 to 255 before the cast to uint8, got {levels.min():g} to {levels.max():g}")

    def guard(self, card: Card) -> bytes:
        """What makes a model's bytes a guarded model: an output that is 0, or NaN where a float of the run is not finite.

        It is the sum of the floats minus themselves: infinity minus infinity is NaN, and zeros do not overflow. Empty for a
        model that rounds nothing, whose NaN can be seen in its output.
        """
        if not (rounding := self._rounding(card.output.kind)):
            return b""
        rounded, difference = rounding[-1], f"{GUARD}.difference"
        nodes = (_node("Sub", [rounded, rounded], difference), _node("ReduceSum", [difference], GUARD))
        parts = b"".join(_message(NODE, node) for node in nodes)
        return _message(GRAPH, parts + _message(OUTPUT, _message(VALUE_NAME, GUARD.encode())))

    def unrounded(self, card: Card) -> bytes:
        """What makes the floats before they are rounded the last output of a model's bytes; empty where nothing is rounded."""
        rounding = self._rounding(card.output.kind)
        return _message(GRAPH, _message(OUTPUT, _message(VALUE_NAME, rounding[-1].encode()))) if rounding else b""

    def _size_of(self, output: Any, batch: int) -> int:
        """Bytes of an intermediate result; an axis of unknown size counts as the batch if it is the first, else as 1."""
        axes = [axis if isinstance(axis, int) else (batch if place == 0 else 1) for place, axis in enumerate(output.shape)]
        return prod(axes) * ITEM_BYTES.get(output.type.removeprefix("tensor(").removesuffix(")"), 1)

    def _rounding(self, output: str) -> list[str]:
        """Names from what is cast to the output back to the floats that are bounded; none if it is made in another way."""
        producers = self._graph.producers
        while producers.get(output, ("", []))[0] in UNCHANGED:
            output = producers[output][1][0]
        operator, inputs = producers.get(output, ("", []))
        if operator != "Cast" or inputs[0] not in producers:
            return []
        names = [inputs[0]]
        while producers[names[-1]][0] in BOUNDING and (bounded := self._bounded_by(names[-1])):
            names.append(bounded)
        types = {output.name: output.type for output in self._session.get_outputs()}
        return names if types.get(names[-1]) in FLOAT_TYPES else []

    def _bounded_by(self, result: str) -> str | None:
        """What a bounding operator takes its values from: of ``Max`` and ``Min`` the one input that is no constant."""
        producers = self._graph.producers
        operator, inputs = producers[result]
        sources = [name for name in (inputs if operator in ("Max", "Min") else inputs[:1]) if name in producers]
        values = [name for name in sources if producers[name][0] != "Constant"]
        return values[0] if len(values) == 1 else None


def open_inspection(data: bytes) -> Inspection:
    """Open a model file with all intermediate results as outputs, not optimised: nothing is computed before it is asked for.

    Raises:
        ModelError: a weight is NaN or infinite, or onnxruntime refuses the model.
    """
    graph = read_graph(data)
    names = [name for name in graph.producers if name not in graph.outputs]
    further = b"".join(_message(OUTPUT, _message(VALUE_NAME, name.encode())) for name in names)
    session = open_session(data + _message(GRAPH, further), "cpu", 1, is_optimised=False)
    return Inspection(session, graph)


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    parts = [*((NODE_INPUT, name) for name in inputs), (NODE_OUTPUT, output), (OP_TYPE, operator)]
    return b"".join(_message(number, text.encode()) for number, text in parts)


def _message(number: int, data: bytes) -> bytes:
    """A field of protobuf that holds a message or a text."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
