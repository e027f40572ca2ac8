"""An exported graph as a differentiable function: ONNX nodes evaluated by torch up to the rounding of pixels.

onnx2torch 1.5 was tried first: it has no converter for ``Equal`` of operator set 19, which every conditional model holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from training.errors import ExportError
from training.export.operators import OPERATORS


class DifferentiableGraph:
    """The pixels that an image model makes, before they are rounded, as a function of its inputs that torch differentiates."""

    def __init__(self, model: onnx.ModelProto, device: torch.device) -> None:
        """Args: ``model`` ends in Round, Clip and Cast, as every model with the output ``image`` does.

        Raises:
            ExportError: the graph has a node that is not known here, or no rounding.
        """
        self._constants = {t.name: _tensor(t, device) for t in model.graph.initializer}
        self._end, self._nodes = _before_rounding(model.graph)
        unknown = sorted({node.op_type for node in self._nodes if node.op_type not in OPERATORS or node.domain})
        if unknown:
            raise ExportError(f"the model has nodes without a known gradient: {', '.join(unknown)}; use its run directory")
        self._attributes = [
            {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} | {"outputs": len(node.output)}
            for node in self._nodes
        ]

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """float32 [n,h,w,c] in 0..255."""
        values: dict[str, Any] = {"": None, **self._constants, **inputs}
        for node, attributes in zip(self._nodes, self._attributes, strict=True):
            made = OPERATORS[node.op_type](*(values[name] for name in node.input), a=attributes)
            values.update(zip(node.output, made if isinstance(made, tuple | list) else (made,), strict=False))
        levels: Tensor = values[self._end]
        return levels


def _before_rounding(graph: onnx.GraphProto) -> tuple[str, list[onnx.NodeProto]]:
    """The tensor that is rounded last, and the nodes that it needs, in order."""
    makers = {name: node for node in graph.node for name in node.output}
    name = graph.output[0].name
    while name in makers and makers[name].op_type in ("Cast", "Clip"):
        name = makers[name].input[0]
    if name not in makers or makers[name].op_type != "Round":
        raise ExportError(f"the output {graph.output[0].name} must end in Round, Clip and Cast")
    end = makers[name].input[0]
    needed, ordered = {end}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            ordered.append(node)
    return end, ordered[::-1]


def _tensor(value: onnx.TensorProto, device: torch.device) -> Tensor:
    array = numpy_helper.to_array(value)
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(device) if tensor.is_floating_point() else tensor
