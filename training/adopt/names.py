"""The names of the tensors and nodes of an ONNX graph, and how a tensor's is changed everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the graphs in its nodes' attributes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
            for one in inner:
                yield from graphs_of(one)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of those in it."""
    for one in graphs_of(graph):
        yield from one.node


def names_of(graph: onnx.GraphProto) -> set[str]:
    """The names of all tensors."""
    found: set[str] = set()
    for one in graphs_of(graph):
        found.update(value.name for value in (*one.input, *one.output, *one.initializer))
        for node in one.node:
            found.update(node.input, node.output)
    return found


def free_name(graph: onnx.GraphProto, wish: str) -> str:
    """A name that no tensor has: ``wish``, or ``wish`` with a number."""
    taken = names_of(graph)
    return next(name for name in (wish, *(f"{wish}_{i}" for i in range(1, len(taken) + 2))) if name not in taken)


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever it is written or read."""
    for one in graphs_of(graph):
        for value in (*one.input, *one.output, *one.initializer):
            if value.name == old:
                value.name = new
        for node in one.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]


def label(node: onnx.NodeProto) -> str:
    """A node in words: its name, or its first output, and its operator."""
    return f"{node.name or node.output[0]} ({node.op_type})"
