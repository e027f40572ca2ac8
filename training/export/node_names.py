"""Names of nodes and weights by the module that they come from, as a viewer of ONNX files shows them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter keeps a node's modules, from the outermost to the innermost, and then its own name."""
WRAPPERS = ("sampler.", "inner.")
"""Modules of the export around the generator."""


def name_by_module(graph: onnx.GraphProto) -> None:
    """Call a node ``body.1/Gemm`` and a weight ``body.1.weight``, as in the state dict of the generator.

    A node without a module in its metadata keeps the exporter's name. Inputs and outputs of the graph keep theirs. Call this
    before the metadata of the nodes is removed.
    """
    counts: Counter[str] = Counter()
    for node in graph.node:
        modules = _modules(node.metadata_props)
        if modules is None:
            continue
        name = "/".join(part for part in (inside(modules[-1] if modules else ""), node.op_type) if part)
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}_{counts[name]}"
    names = {weight.name: inside(weight.name) for weight in graph.initializer}
    taken = {value for node in graph.node for value in (*node.input, *node.output)}
    names = {old: new for old, new in names.items() if new != old and new not in taken}
    for weight in graph.initializer:
        weight.name = names.get(weight.name, weight.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _modules(entries: Iterable[onnx.StringStringEntryProto]) -> list[str] | None:
    """The modules around a node, outermost first, without the root; None where they are not given."""
    text = next((entry.value for entry in entries if entry.key == SCOPES), None)
    return None if text is None else [str(scope) for scope in ast.literal_eval(text)][1:-1]


def inside(name: str) -> str:
    """A module's name as the generator knows it."""
    for wrapper in WRAPPERS:
        name = "" if name == wrapper.removesuffix(".") else name.removeprefix(wrapper)
    return name
