"""Changes to an ONNX graph: a latent in the place of an input or a noise node, rows of any number, pictures as output."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from contract import Categorical, Image
from training.adopt.inputs import Input
from training.adopt.names import free_name, names_of, rename
from training.adopt.pictures import PictureFormat, scale_of
from training.errors import AdoptError

Step = tuple[str, list[str], dict[str, Any]]
"""An operator, its inputs after the first, and its attributes."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
"""Types of numbers that keep what a latent draws; whole numbers would cut it."""


def dimensions(graph: onnx.GraphProto, name: str) -> list[int | str]:
    """The declared axes of an input; an axis of any size by its name, or ``?``."""
    value = next(value for value in graph.input if value.name == name)
    return [axis.dim_value or axis.dim_param or "?" for axis in value.type.tensor_type.shape.dim]


def feed(graph: onnx.GraphProto, one: Input, target: str) -> None:
    """Make a latent of the card an input of the graph, and give it to the tensor ``target`` in its own type and shape.

    Raises:
        AdoptError: the graph declares another number of values.
    """
    kind, row = _taken(graph, one, target)
    _remove_source(graph, target)
    inner = free_name(graph, f"{one.name}_taken")
    rename(graph, target, inner)
    if one.name in names_of(graph):
        rename(graph, one.name, free_name(graph, f"{one.name}_inner"))
    is_class = isinstance(one.latent, Categorical)
    present = TensorProto.INT64 if is_class else TensorProto.FLOAT
    declared: list[int | str] = ["n"] if isinstance(one.latent, Categorical) else ["n", one.latent.size]
    graph.input.append(helper.make_tensor_value_info(one.name, present, declared))
    steps: list[Step] = []
    if one.is_one_hot:
        eye = _constant(graph, f"{one.name}_one_hot", np.eye(one.shape[0], dtype=np.float32))
        steps.append(("Gather", [eye], {"axis": 0}))
        present = TensorProto.FLOAT
    if len(row) != len(declared) - 1 + one.is_one_hot:
        steps.append(("Reshape", [_constant(graph, f"{one.name}_shape", np.array([-1, *row], np.int64))], {}))
    if kind != present:
        steps.append(("Cast", [], {"to": kind}))
    for node in reversed(_chain(graph, one.name, steps, inner)):
        graph.node.insert(0, node)
    if not steps:
        rename(graph, inner, one.name)


def _chain(graph: onnx.GraphProto, start: str, steps: list[Step], end: str) -> list[onnx.NodeProto]:
    """Nodes that compute the tensor ``end`` from ``start``; those between are called after ``end``."""
    nodes: list[onnx.NodeProto] = []
    for place, (operator, more, attributes) in enumerate(steps):
        name = end if place == len(steps) - 1 else free_name(graph, f"{end}_{operator.lower()}")
        given = [*more, start] if operator == "Gather" else [start, *more]
        nodes.append(helper.make_node(operator, given, [name], name=name, **attributes))
        start = name
    return nodes


def _taken(graph: onnx.GraphProto, one: Input, target: str) -> tuple[int, tuple[int, ...]]:
    """Type and shape of a row of the tensor that a latent becomes."""
    value = next((value for value in graph.input if value.name == target), None)
    if value is None:
        return TensorProto.FLOAT, one.shape
    kind = value.type.tensor_type.elem_type
    if not isinstance(one.latent, Categorical) and kind not in FLOATS:
        words = f"{one.name}=categorical:CLASSES{f'@{one.target}' if one.target else ''}"
        raise AdoptError(f"the graph takes {target} as {TensorProto.DataType.Name(kind).lower()}: use --latent {words}")
    axes = dimensions(graph, target)[1:]
    row = tuple(axis for axis in axes if isinstance(axis, int))
    if len(row) < len(axes) or not value.type.tensor_type.HasField("shape"):
        return kind, one.shape
    if prod(row) != prod(one.shape):
        raise AdoptError(f"the graph takes {target} as {dimensions(graph, target)}, but --latent declares {one}")
    return kind, row


def _remove_source(graph: onnx.GraphProto, target: str) -> None:
    """Remove the input or the node that makes a tensor."""
    for value in list(graph.input):
        if value.name == target:
            graph.input.remove(value)
    for node in list(graph.node):
        if target in node.output:
            graph.node.remove(node)


def append_rounding(graph: onnx.GraphProto, output: str, form: PictureFormat, image: Image) -> None:
    """Make ``image``, uint8 [n,h,w,c] rounded half to even, the graph's only output."""
    if "image" in names_of(graph):
        inner = free_name(graph, "image_inner")
        rename(graph, "image", inner)
        output = inner if output == "image" else output
    scale, shift = scale_of(form.values)
    steps: list[Step] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if form.values != "uint8":
        steps.append(("Mul", [_constant(graph, "image_scale", np.float32(scale))], {}))
    if shift:
        steps.append(("Add", [_constant(graph, "image_shift", np.float32(shift))], {}))
    if form.layout == "nchw":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    limits = [_constant(graph, f"image_{name}", np.float32(value)) for name, value in (("low", 0), ("high", 255))]
    steps += [("Round", [], {}), ("Clip", limits, {}), ("Cast", [], {"to": TensorProto.UINT8})]
    graph.node.extend(_chain(graph, output, steps, "image"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *image.shape]))


def make_batch_dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every reshape to a constant shape of one row takes any number of rows."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in opened.graph.initializer}
    for node in opened.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for node in opened.graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and shape.ndim == 1 and len(shape) > 1 and shape[0] == 1:
            rows = 0 if -1 in shape else -1
            node.input[1] = _constant(opened.graph, f"{node.input[1]}_rows", np.array([rows, *shape[1:]], np.int64))
    return opened


def _constant(graph: onnx.GraphProto, wish: str, value: np.generic | np.ndarray) -> str:
    name = free_name(graph, wish)
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
